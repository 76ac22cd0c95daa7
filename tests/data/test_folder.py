from pathlib import Path

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.folder import read_folder
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_folder

GREY = pictures(5, colour=False)


def test_class_folders_are_one_training_split(tmp_path: Path) -> None:
    write_folder(tmp_path, {"dog": GREY[:2], "cat": GREY[2:]})

    train, test = read_folder(tmp_path, DataConfig())

    assert (train.split, train.class_names, test) == ("train", ("cat", "dog"), None)
    assert list(train.labels) == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(train.images[:, 0].numpy(), np.stack([*GREY[2:], *GREY[:2]]))


@pytest.mark.parametrize("name", ["test", "validation", "valid", "val"])
def test_split_folders(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "train", {"cat": GREY[:1], "dog": GREY[1:3]})
    write_folder(tmp_path / name, {"dog": GREY[3:]})

    train, test = read_folder(tmp_path, DataConfig())

    assert test is not None
    assert (len(train.images), test.split, test.class_names) == (3, name, ("dog",))


def test_split_folders_by_other_names(tmp_path: Path) -> None:
    for name in ("fold1", "fold2"):
        write_folder(tmp_path / name, {"cat": GREY[:1], "dog": GREY[1:]})

    train, test = read_folder(tmp_path, DataConfig(train_split="fold2", test_split="fold1"))

    assert test is not None
    assert (train.split, test.split) == ("fold2", "fold1")
    with pytest.raises(InputError, match=r"no split 'fold3' \(splits: fold1, fold2\)"):
        read_folder(tmp_path, DataConfig(train_split="fold3"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": GREY[:2], "tram": GREY[2:]})

    assert read_folder(tmp_path, DataConfig())[0].class_names == ("train", "tram")


def test_images_may_lie_deeper_and_other_files_are_ignored(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/2020": GREY[:1], "cat": GREY[1:2], "dog": GREY[2:], ".cache": GREY})
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._0.png").write_bytes(b"hidden")
    (tmp_path / "dog" / "0.png").rename(tmp_path / "dog" / "0.PNG")

    train, _ = read_folder(tmp_path, DataConfig())

    assert (train.class_names, list(train.labels)) == (("cat", "dog"), [0, 0, 1, 1, 1])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no folders of images .*<folder>/cat/1.png"):
        read_folder(tmp_path, DataConfig())


def test_broken_images_are_named_by_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY, "dog": GREY})
    (tmp_path / "dog" / "3.png").write_bytes(b"")

    with pytest.raises(InputError, match=r"dog/3\.png cannot be decoded as an image"):
        read_folder(tmp_path, DataConfig())


def test_mixed_sizes_are_named_by_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY, "dog": pictures(1, colour=True, size=9)})

    with pytest.raises(InputError, match=r"cat/0\.png is 6x6 pixels but .*dog/0\.png is 9x9"):
        read_folder(tmp_path, DataConfig())
    assert read_folder(tmp_path, DataConfig(resize=8, channels=1))[0].images.shape == (6, 1, 8, 8)
