"""Atomic writes: a reader sees the old content or the new, never a part.

Whatever fails (full disk, missing permission, a kill), the destination stays as it was.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datacondense.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move what was written there to the file's own path in one step."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        _check_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise InputError(_explained(error, path)) from error
    finally:
        # Where even the name is impossible (too long, below a file), there is nothing to remove.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def replacing_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, and move it to its destination in one step."""
    temporary: Path | None = None
    try:
        destination = path.resolve()
        _check_folder(path, destination, force=force)
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=destination.parent))
        new = temporary / "new"
        new.mkdir()
        yield new
        _swap_folders(new, destination, aside=temporary / "old")
    except OSError as error:
        raise InputError(_explained(error, path)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check_file(path: Path) -> None:
    """Refuse to replace a folder or a device by a file."""
    if path.exists() and not path.is_file():
        raise InputError(
            f"{path} is a folder or a device and cannot be replaced by a file: give another path."
        )


def _check_folder(path: Path, destination: Path, *, force: bool) -> None:
    """Refuse to replace a file, the current folder, and content without `force`."""
    if not destination.exists():
        return
    if not destination.is_dir():
        raise InputError(f"{path} is a file and cannot be replaced by a folder: give another path.")
    if Path.cwd().is_relative_to(destination):
        raise InputError(f"{path} is the current folder or contains it: give the path of a new folder.")
    if not force and any(destination.iterdir()):
        raise InputError(f"{path} is not empty: give a new folder, or --force to replace it.")


def _swap_folders(new: Path, destination: Path, *, aside: Path) -> None:
    """Move a folder to its destination; the old one is moved aside, and back if that fails."""
    if not destination.exists():
        new.rename(destination)
        return
    # For an instant there is neither: no system call exchanges two folders everywhere.
    destination.rename(aside)
    try:
        new.rename(destination)
    except OSError:
        aside.rename(destination)
        raise


def _flush_to_disk(path: Path) -> None:
    """Flush a file to the disk before it is renamed, because a crash must not leave an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: Path) -> str:
    """Return a sentence with a remedy for an operating system error."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"No space left on the disk while writing {path}: free some space and try again; nothing was changed."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{path} cannot be written (permission denied): choose a folder that you may write to."
    return f"{path} cannot be written ({error.strerror or error}): choose another path."
