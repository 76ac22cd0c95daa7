"""Disks that fail: a small one that is full, and a file layer whose n-th change fails."""

import builtins
import ctypes
import errno
import io
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NONE, _REMOUNT, _READ_ONLY, _DETACH = 0, 32, 1, 2
PAGE = 4096


def _mount(target: Path, flags: int, options: str) -> bool:
    """Call mount(2) for a file system in memory; False where this user may not."""
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, options.encode()) == 0)


@contextmanager
def small_disk(target: Path, pages: int) -> Iterator[bool]:
    """Mount a disk of so many pages; yield False where that is not possible."""
    target.mkdir(exist_ok=True)
    if not _mount(target, _NONE, f"size={pages * PAGE}"):
        yield False
        return
    try:
        yield True
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(target), _DETACH)


def resized(target: Path, pages: int) -> None:
    """Give a disk more room."""
    assert _mount(target, _REMOUNT, f"size={pages * PAGE}")


def read_only(target: Path, *, on: bool) -> bool:
    """Make a disk read-only, or writable again; False while a file is open for writing."""
    return _mount(target, _REMOUNT | (_READ_ONLY if on else 0), "")


class FailingLayer:
    """Fails the n-th change of the file system in this process, and all after it, as a full disk does.

    What counts as a change: a file is opened for writing, written, flushed to the disk, renamed or made.
    """

    def __init__(self, folder: Path, number: int = 10**9, error: int = errno.ENOSPC) -> None:
        self._folder, self._number, self._error = str(folder), number, error
        self._seen = mmap.mmap(-1, 8)  # shared with the process that is forked
        self._open = io.open

    @property
    def changes(self) -> int:
        """How many changes there were, with the first that failed."""
        return int.from_bytes(self._seen[:8], "little")

    @property
    def failed(self) -> bool:
        """Whether a change has failed."""
        return self.changes > self._number

    def arrange(self) -> None:
        """Put the layer in place, for the rest of this process."""
        builtins.open = io.open = self._opened
        os.open = self._checked(
            os.open, lambda _, flags, *__, **___: bool(flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))
        )
        for name in ("replace", "rename", "mkdir"):
            setattr(os, name, self._checked(getattr(os, name), lambda *_, **__: True))
        os.fsync = self._flushed(os.fsync)

    def change(self, path: Any) -> None:
        """Count a change of a path, and fail if it is its turn."""
        if not os.path.abspath(os.fsdecode(path)).startswith(self._folder):  # noqa: PTH100
            return
        self._seen[:8] = min(self.changes + 1, self._number + 1).to_bytes(8, "little")
        if self.failed:
            raise OSError(self._error, os.strerror(self._error), os.fsdecode(path))

    def _checked(self, call: Callable[..., Any], changes: Callable[..., bool]) -> Any:
        def checked(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | bytes | os.PathLike) and changes(path, *arguments, **options):
                self.change(path)
            return call(path, *arguments, **options)

        return checked

    def _flushed(self, call: Callable[[int], None]) -> Any:
        def flushed(descriptor: int) -> None:
            self.change(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            call(descriptor)

        return flushed

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax+") and isinstance(file, str | bytes | os.PathLike):
            self.change(file)
            return _Written(self._open(file, mode, *arguments, **options), file, self)
        return self._open(file, mode, *arguments, **options)


class _Written:
    """A file whose writes count as changes; a write that fails has written half."""

    def __init__(self, file: Any, path: Any, layer: FailingLayer) -> None:
        self._file, self._path, self._layer = file, path, layer

    def write(self, data: Any) -> Any:
        try:
            self._layer.change(self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
