"""The one way out for files: the old content or the new, never a part, and no leftovers."""

import errno
import os
import stat
from pathlib import Path

import pytest

from datacondense.errors import InputError
from datacondense.files import (
    replacing,
    replacing_folder,
    write_text,
)

NO_SPACE = "No space left on the disk while writing .*: free some space and try again; nothing was changed"
NO_PERMISSION = r"cannot be written \(permission denied\): choose a folder that you may write to"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def fail_with(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class BrokenError(Exception):
    """Stands for any failure of the writing code."""


def write(path: Path, failure: Exception | None = None) -> None:
    with replacing(path) as temporary:
        temporary.write_text("new")
        if failure is not None:
            raise failure


def fill(path: Path, failure: Exception | None = None, *, ours: bool = False) -> None:
    with replacing_folder(path, ours=ours) as temporary:
        (temporary / "new.txt").write_text("new")
        if failure is not None:
            raise failure


def test_file_appears_complete_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("content")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "content"
    assert names(path.parent) == ["a.txt"]


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old and longer")
    write_text(path, "größer")
    assert path.read_bytes() == "größer".encode()


def test_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"


def test_text_keeps_its_mode_for_others_to_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "")
        with replacing_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755


def test_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(BrokenError):
        write(path, BrokenError())
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, NO_SPACE),
        (errno.EDQUOT, NO_SPACE),
        (errno.EACCES, NO_PERMISSION),
        (errno.EROFS, NO_PERMISSION),
        (errno.EIO, r"cannot be written \(Input/output error\): choose another path"),
    ],
)
def test_system_errors_become_a_sentence(tmp_path: Path, number: int, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(InputError, match=message):
        write(path, fail_with(number))
    with pytest.raises(InputError, match=message):
        fill(tmp_path / "folder", fail_with(number))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_disk_that_is_really_full(tmp_path: Path) -> None:
    def write_to_full_disk() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("content")

    with pytest.raises(InputError, match=NO_SPACE):
        write_to_full_disk()
    assert names(tmp_path) == []


def test_crash_between_writing_and_moving_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(descriptor: int) -> None:
        raise fail_with(errno.EIO)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match="Input/output error"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_content_is_on_the_disk_before_the_name_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.exists()))
    write_text(path, "new")
    assert synced == [False, True]  # the file, then its folder's entry


def test_file_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(InputError, match=r"b\.txt cannot be written"):
        write_text(tmp_path / "a.txt" / "b.txt", "new")
    with pytest.raises(InputError, match="folder cannot be written"):
        fill(tmp_path / "a.txt" / "folder")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        write_text(tmp_path / ("a" * 300), "new")


@pytest.mark.parametrize("kind", ["device", "folder"])
def test_file_never_replaces_a_device_or_a_folder(tmp_path: Path, kind: str) -> None:
    # A named pipe stands for a device: a test must not be able to harm a real one.
    path = tmp_path / kind
    if kind == "device":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(InputError, match=f"{kind} is a folder or a device and cannot be replaced by a file"):
        write_text(path, "new")
    assert stat.S_IFMT(path.stat().st_mode) == before


@pytest.mark.parametrize("name", [".", ".."])
def test_file_never_replaces_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(InputError, match="is a folder or a device and cannot be replaced by a file"):
        write_text(Path(name), "new")


def test_unwritable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **settings: object) -> None:
        raise fail_with(errno.EACCES)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=NO_PERMISSION):
        write_text(tmp_path / "new" / "a.txt", "new")
    with pytest.raises(InputError, match=NO_PERMISSION):
        fill(tmp_path / "new" / "folder")


def test_folder_that_one_may_not_list_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise fail_with(errno.EACCES)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=NO_PERMISSION):
        fill(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=NO_PERMISSION):
        write_text(tmp_path / "a.txt", "new")
    with pytest.raises(InputError, match=NO_PERMISSION):
        fill(tmp_path / "folder")


def test_folder_appears_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with replacing_folder(path) as temporary:
        (temporary / "inside").mkdir()
        (temporary / "inside" / "a.txt").write_text("content")
        assert not path.exists()
    assert (path / "inside" / "a.txt").read_text() == "content"
    assert names(path.parent) == ["folder"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with replacing_folder(path) as temporary:
        (temporary / "a.txt").write_text("content")
    assert names(path) == ["a.txt"]


def test_full_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(
        InputError, match=r"folder is not empty: give a new folder, or --force to replace an earlier export"
    ):
        fill(path)
    assert names(path) == ["old.txt"]


def test_full_folder_is_replaced_where_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with replacing_folder(path, ours=True) as temporary:
        (temporary / "new.txt").write_text("new")
        assert names(path) == ["old.txt"]
    assert names(path) == ["new.txt"]
    assert names(tmp_path) == ["folder"]


def test_failure_while_filling_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(BrokenError):
        fill(path, BrokenError(), ours=True)
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["folder"]


def test_folder_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(InputError, match=r"a\.txt is a file and cannot be replaced by a folder"):
        fill(path, ours=True)
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", [".", ".."])
def test_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(
        InputError, match="is the current folder or contains it: give the path of a new folder"
    ):
        fill(Path(name), ours=True)


def test_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "folder", target_is_directory=True)
    with replacing_folder(link) as temporary:
        (temporary / "a.txt").write_text("new")
    assert link.is_symlink()
    assert names(tmp_path / "folder") == ["a.txt"]
