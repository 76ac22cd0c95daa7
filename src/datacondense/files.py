"""Atomic writes: a reader sees the old content or the new, never a part.

Whatever goes wrong on the way (full disk, missing permission, a kill), the destination stays as it was.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datacondense.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside its destination, then move it there in one step.

    Args:
        path: The destination; its folder is made where missing.

    Yields:
        The temporary path to write to.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise InputError(_explained(error, path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Fill a folder under a temporary name beside its destination, then move it there in one step.

    Args:
        path: The destination folder.
        force: Replace a folder that is already there and not empty.

    Yields:
        The temporary folder to fill.

    Raises:
        InputError: The destination exists and is not empty (without `force`), is a file, cannot be written, or
            the disk is full.
    """
    if path.is_file():
        raise InputError(f"{path} is a file, but a folder is to be written there: give another path.")
    if not force and path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path} is not empty: give a new folder, or --force to replace it.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise InputError(_explained(error, path)) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Args:
        path: The destination.
        text: The whole content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    """Read the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_to_disk(path: Path) -> None:
    """Make a file's content durable before its name is moved: a crash must not leave an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: Path) -> str:
    """Turn an operating system error into a sentence with a remedy."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"No space left on the disk while writing {path}: free some space and try again; nothing was changed."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{path} cannot be written (permission denied): choose a folder that you may write to."
    return f"{path} cannot be written ({error.strerror or error}): choose another path."
