from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.npz import read_npz
from datacondense.errors import InputError
from tests.data.made_files import pictures

COLOUR = np.stack(pictures(4, colour=True))
LABELS = np.array([0, 1, 1, 0])


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


@pytest.mark.parametrize(
    "keys", [("x_train", "y_train", "x_test", "y_test"), ("images", "labels", "test_images", "test_labels")]
)
def test_both_sets_of_names(tmp_path: Path, keys: tuple[str, str, str, str]) -> None:
    arrays = dict(zip(keys, (COLOUR, LABELS, COLOUR[:1], LABELS[:1]), strict=True))

    train, test = read_npz(saved(tmp_path, **arrays), DataConfig())

    np.testing.assert_array_equal(train.images.numpy(), COLOUR.transpose(0, 3, 1, 2))
    assert (list(train.labels), train.class_names) == ([0, 1, 1, 0], ("0", "1"))
    assert test is not None
    assert (test.images.shape, list(test.labels), test.class_names) == ((1, 3, 6, 6), [0], ("0", "1"))


def test_names_and_form(tmp_path: Path) -> None:
    path = saved(tmp_path, images=COLOUR, labels=LABELS[:, None], class_names=np.array(["cat", "dog"]))

    train, test = read_npz(path, DataConfig(resize=3, channels=1))

    assert (train.images.shape, train.class_names, test) == ((4, 1, 3, 3), ("cat", "dog"), None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": COLOUR, "y": LABELS}, "has the arrays x, y, but x_train and y_train, or images and labels"),
        ({"x_train": COLOUR, "y_train": LABELS, "x_test": COLOUR}, "has only one of x_test and y_test"),
        ({"x_train": COLOUR, "y_train": LABELS[:3]}, "x_train has 4 images but y_train has 3 labels"),
        ({"x_train": COLOUR, "y_train": LABELS + 1}, "Labels run from 1 to 2 .*but must be 0 to K-1"),
        ({"x_train": COLOUR, "y_train": LABELS / 2}, "Labels are float64"),
        ({"x_train": COLOUR / 2, "y_train": LABELS}, "Floating-point pixels run from"),
        (
            {"x_train": np.array([{}], dtype=object), "y_train": LABELS},
            "cannot be read as arrays .*arrays of objects",
        ),
    ],
)
def test_files_that_break_a_rule(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(saved(tmp_path, **arrays), DataConfig())


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, images=COLOUR, labels=LABELS)
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(InputError, match=r"data\.npz cannot be read as arrays"):
        read_npz(path, DataConfig())
