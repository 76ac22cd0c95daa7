"""Folders that are replaced while something interrupts: neither the old nor the new one is lost."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datacondense import files
from datacondense.errors import InputError
from datacondense.files import remove_leftovers
from tests.test_files import BrokenError, fail_with, fill, names


@pytest.mark.parametrize("failure", [fail_with(errno.EIO), KeyboardInterrupt(), SystemExit()], ids=repr)
@pytest.mark.parametrize("moment", ["new", "folder"])
def test_interrupted_exchange_loses_neither_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, moment: str
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        # Before the new folder is moved, or just after the old one was moved aside.
        if self.name == moment == "new":
            raise failure
        moved = rename(self, target)
        if self.name == moment == "folder":
            raise failure
        return moved

    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises((InputError, type(failure))):
        fill(path, ours=True)
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["folder"]


def killed_process() -> int:
    """Return the number of a process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("moved_aside", [False, True])
def test_what_a_killed_process_left_is_put_right(tmp_path: Path, moved_aside: bool) -> None:
    path = tmp_path / "folder"
    leftover = tmp_path / f".folder.{killed_process()}.datacondense-part"
    (leftover / "new").mkdir(parents=True)
    old = leftover / "old" if moved_aside else path
    old.mkdir()
    (old / "old.txt").write_text("old")
    with pytest.raises(BrokenError):
        fill(path, BrokenError(), ours=True)
    fill(path, ours=True)
    assert (names(path), names(tmp_path)) == (["new.txt"], ["folder"])


def test_old_folder_that_a_killed_process_moved_aside_comes_back_before_anything_is_written(
    tmp_path: Path,
) -> None:
    aside = tmp_path / f".folder.{killed_process()}.datacondense-part" / "old"
    aside.mkdir(parents=True)
    (aside / "old.txt").write_text("old")
    with pytest.raises(BrokenError):
        fill(tmp_path / "folder", BrokenError())
    assert names(tmp_path / "folder") == ["old.txt"]


def test_leftovers_of_others_and_of_living_processes_stay(tmp_path: Path) -> None:
    kept = [
        ".movie.mkv.part",
        ".a.txt.part",
        f".a.txt.{os.getppid()}.datacondense-part",
        f".b.txt.{killed_process()}.datacondense-part",
    ]
    for name in kept:
        (tmp_path / name).write_text("kept")
    (tmp_path / f".a.txt.{killed_process()}.datacondense-part").write_text("lost")
    remove_leftovers(tmp_path, "a.txt")
    assert names(tmp_path) == sorted(kept)


def test_folders_are_exchanged_in_one_step_where_the_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert files._exchanged(tmp_path / "one", tmp_path / "other") is (sys.platform == "linux")
    if sys.platform == "linux":
        assert (names(tmp_path / "one"), names(tmp_path / "other")) == (["other"], ["one"])
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not files._exchanged(tmp_path / "one", tmp_path / "other")
