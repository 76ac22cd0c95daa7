"""What in a folder of images is not read: counted, or known to be of no interest."""

import os
import warnings
from pathlib import Path

import pytest

from datacondense.data.config import DataConfig
from datacondense.data.folder import read_folder
from tests.data.made_files import pictures, write_folder, write_images

GREY = pictures(5, colour=False)


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY[:2], "dog": GREY[:4], ".birds": GREY[:3]})
    for index in range(4):
        (tmp_path / "cat" / f"{index}.HEIC").write_bytes(b"x")
        (tmp_path / "dog" / f"{index}").write_bytes(b"x")
    write_images(tmp_path, "0.png", "1.jpg")
    write_images(tmp_path / "dog", ".0.png")
    (tmp_path / "dog" / "9.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "dog" / "8.png")

    with pytest.warns(UserWarning, match="are ignored") as found:
        train, _ = read_folder(tmp_path, DataConfig())

    assert list(train.labels) == [0, 0, 1, 1, 1, 1]
    assert [str(each.message) for each in found] == [
        f"16 of 22 files in {tmp_path} are ignored (.heic 4, no suffix 4, in hidden folders 3, beside class folders 2, "
        "dangling links 1, others 2): if they belong to the data set, convert them to PNG or JPEG and put them into "
        "the folders of their classes."
    ]


def test_what_is_ignored_in_splits_is_counted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_folder(tmp_path / split, {"cat": GREY[:1], "dog": GREY[1:]})
        (tmp_path / split / "cat" / "0.heic").write_bytes(b"x")
        write_images(tmp_path / split, "0.png")
    write_images(tmp_path, "0.png")

    with pytest.warns(UserWarning, match="are ignored") as found:
        read_folder(tmp_path, DataConfig())

    kinds = "(.heic 2, beside class folders 2, beside the splits 1)"
    assert [str(each.message).partition(":")[0] for each in found] == [
        f"5 of 15 files in {tmp_path} are ignored {kinds}"
    ]


def test_texts_and_what_systems_leave_are_no_images(tmp_path: Path) -> None:
    write_folder(
        tmp_path, {"cat": GREY[:2], "dog": GREY[2:], "@eaDir": GREY, "cat/@eaDir": GREY, "__MACOSX": GREY}
    )
    for name in (
        "cat/notes.txt",
        "README",
        "labels.csv",
        "cat/._0.png",
        "Thumbs.db",
        "cat/.DS_Store",
        "dog/desktop.ini",
    ):
        (tmp_path / name).write_bytes(b"x")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, _ = read_folder(tmp_path, DataConfig())

    assert (train.class_names, list(train.labels)) == (("cat", "dog"), [0, 0, 1, 1, 1])
