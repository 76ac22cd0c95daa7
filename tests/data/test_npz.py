import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.npz import read_features, read_npz
from datacondense.data.sources import load
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError
from tests.data.made_files import pictures

COLOUR = np.stack(pictures(4, colour=True))
LABELS = np.array([0, 1, 1, 0])


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("images", "labels", "test_images", "test_labels"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("train_images", "train_labels", "val_images", "val_labels"),
    ],
)
def test_all_sets_of_names(tmp_path: Path, keys: tuple[str, str, str, str]) -> None:
    arrays = dict(zip(keys, (COLOUR, LABELS, COLOUR[:1], LABELS[:1]), strict=True))

    train, test = read_npz(saved(tmp_path, **arrays), DataConfig())

    np.testing.assert_array_equal(train.images.numpy(), COLOUR.transpose(0, 3, 1, 2))
    assert (list(train.labels), train.class_names) == ([0, 1, 1, 0], None)
    assert isinstance(test, ReadSplit)
    assert (test.images.shape, list(test.labels), test.class_names) == ((1, 3, 6, 6), [0], None)


def test_medmnist(tmp_path: Path) -> None:
    labels = {f"{split}_labels": LABELS[:, None] for split in ("train", "val", "test")}
    images = {
        f"{split}_images": COLOUR[:, :, :, :count] for split, count in (("train", 3), ("val", 3), ("test", 3))
    }
    images["test_images"] = COLOUR[::-1]

    data = load(saved(tmp_path, **images, **labels))

    assert data.test is not None
    assert (data.train.class_names, data.train.labels.tolist()) == (("0", "1"), [0, 1, 1, 0])
    np.testing.assert_array_equal(data.test.images.numpy(), COLOUR[::-1].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("train", "test", "names", "given"),
    [
        (["b", "a", "a", "b"], ["a"], ("a", "b"), None),
        ([3, 1, 1, 3], [1], ("1", "3"), None),
        (["b", "a", "a", "b"], ["a"], ("b", "a"), ["b", "a"]),
    ],
)
def test_labels_may_be_any_values(
    tmp_path: Path, train: list[Any], test: list[Any], names: tuple[str, ...], given: list[str] | None
) -> None:
    extra = {} if given is None else {"class_names": np.array(given)}
    data = load(saved(tmp_path, x_train=COLOUR, y_train=train, x_test=COLOUR[:1], y_test=test, **extra))

    assert data.test is not None
    assert data.train.class_names == data.test.class_names == names
    assert [names[label] for label in data.train.labels] == [str(label) for label in train]
    assert [names[label] for label in data.test.labels] == [str(label) for label in test]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": COLOUR}, "has only one of x_test and y_test"),
        ({"x_test": COLOUR, "y_test": LABELS[:3]}, "x_test has 4 images but y_test has 3 labels"),
        ({"x_test": COLOUR, "y_test": LABELS - 1}, "The split 'test' has the label '-1'"),
    ],
)
def test_test_images_of_no_use_do_not_stop_training(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    data = load(saved(tmp_path, x_train=COLOUR, y_train=LABELS, **arrays))

    assert len(data.train) == 4
    with pytest.raises(InputError, match=message):
        assert data.test


def written(path: Path, **members: bytes) -> Path:
    """Write an archive by hand."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape: str, kind: str = "<f8") -> bytes:
    """Return the start of a `.npy` file, which holds nothing else."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


HUGE = header("(1000000, 1000, 1000)")


def test_only_the_arrays_that_are_needed_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", images=npy(COLOUR), labels=npy(LABELS), unused=HUGE, broken=b"x")
    assert len(load(path).train) == 4
    path = written(tmp_path / "b.npz", images=HUGE, labels=npy(LABELS))
    with pytest.raises(InputError, match=r"the array images in .*b\.npz take 8,000\.0 GB, but this machine"):
        load(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 100,
        header("(2, 6, 6)"),
        header("(-1, 6, 6)"),
        header("(1"),
        header("(" * 200),
        header("(1,)", "(" * 90),
        header("(1,)", "|O"),
        HUGE[:20],
        npy(COLOUR)[:-3],
    ],
)
def test_damaged_arrays_are_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path / "a.npz", images=data, labels=npy(LABELS))
    with pytest.raises(
        InputError, match=r"a\.npz cannot be read as an \.npz file \(.*\): save it with numpy\.savez"
    ):
        load(path)
    (tmp_path / "f.npy").write_bytes(data)
    with pytest.raises(InputError, match=r"f\.npy cannot be read as an array of numbers \("):
        read_features(tmp_path / "f.npy")


def test_letters_that_do_not_exist_are_one_sentence(tmp_path: Path) -> None:
    names = np.array([0x7FFFFFFF, 65], dtype="<u4").view("<U1")
    path = saved(tmp_path, images=COLOUR, labels=LABELS, class_names=names)

    with pytest.raises(InputError, match=r"data\.npz cannot be read as an \.npz file"):
        load(path)


def test_features(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.arange(6, dtype=">f4").reshape(2, 3))
    assert read_features(tmp_path / "f.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "g.npy").write_bytes(HUGE)
    with pytest.raises(InputError, match=r"g\.npy take 8,000\.0 GB"):
        read_features(tmp_path / "g.npy")
    with pytest.raises(InputError, match=r"There is no file .*none\.npy: check the path"):
        read_features(tmp_path / "none.npy")
    np.save(tmp_path / "t.npy", np.array(["a"]))
    with pytest.raises(InputError, match=r"t\.npy cannot be read as an array of numbers"):
        read_features(tmp_path / "t.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.npy"])
def test_pipes_are_refused_unopened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a folder, a pipe or a device"):
        read_features(tmp_path / name) if name.endswith("npy") else load(tmp_path / name)


def test_names_and_form(tmp_path: Path) -> None:
    path = saved(tmp_path, images=COLOUR, labels=LABELS[:, None], class_names=np.array(["cat", "dog"]))

    train, test = read_npz(path, DataConfig(resize=3, channels=1))

    assert (train.images.shape, train.class_names, test) == ((4, 1, 3, 3), ("cat", "dog"), None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": COLOUR, "y": LABELS}, "has the arrays x, y, but x_train and y_train, or images and labels"),
        ({"x_train": COLOUR, "y_train": LABELS[:3]}, "x_train has 4 images but y_train has 3 labels"),
        (
            {"x_train": COLOUR, "y_train": LABELS, "class_names": np.array(["a", "b", "a"])},
            r"data\.npz has 2 classes of the name 'a'",
        ),
        (
            {"x_train": COLOUR, "y_train": list("abba"), "class_names": np.array(["a", "c"])},
            r"y_train has the label 'b' .*which class_names lack \(names: a, c\)",
        ),
        ({"x_train": COLOUR, "y_train": np.eye(4, dtype=int)}, "Labels are int64 of shape .*argmax"),
        ({"x_train": COLOUR, "y_train": LABELS / 2}, "Labels are float64"),
        ({"x_train": COLOUR / 2, "y_train": LABELS}, "Floating-point pixels run from"),
        (
            {"x_train": np.array([{}], dtype=object), "y_train": LABELS},
            r"cannot be read as an \.npz file .*arrays of objects",
        ),
    ],
)
def test_files_that_break_a_rule(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(saved(tmp_path, **arrays), DataConfig())


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, images=COLOUR, labels=LABELS)
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(InputError, match=r"data\.npz cannot be read as an \.npz file"):
        read_npz(path, DataConfig())


def test_an_array_that_is_shorter_than_its_header_says_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.float32))
    long = buffer.getvalue().replace(b"(3, 4), }    ", b"(300, 4000),}")
    (tmp_path / "a.npy").write_bytes(long)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", long)

    def allocate(*_: object, **__: object) -> None:
        raise AssertionError("memory was taken")

    monkeypatch.setattr(np.lib.format, "read_array", allocate)
    for read in (lambda: read_features(tmp_path / "a.npy"), lambda: load(tmp_path / "a.npz")):
        with pytest.raises(
            InputError, match=r"its header speaks of \(300, 4000\) numbers, but it is shorter"
        ):
            read()
