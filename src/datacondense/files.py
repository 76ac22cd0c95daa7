"""The one way in and the one way out for files.

In: whatever a parser makes of a strange or damaged file, the user reads one sentence. Only regular files are opened,
since a pipe or a device may never end.

Out: atomic, so that a reader sees the old content or the new, never a part. Whatever fails (a full disk, a missing
permission, Ctrl-C, a kill), the destination stays as it was. Temporary names carry our own name and the process, so
that leftovers can be told from the files of others.
"""

import ctypes
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from datacondense.errors import InputError

_PART = "datacondense-part"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2
_AT_CWD = -100


@contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[Path]:
    """Yield a path to parse: that it is missing, no regular file or no `what` becomes one sentence with a remedy."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a folder, a pipe or a device, but {what} is a file: give its path.")
        yield path
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}: check the path.") from error
    except BaseException as error:
        # Parsers raise errors of any kind; a panic of one written in Rust is not even an `Exception`.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = f"it lacks {reason}" if isinstance(error, KeyError) else reason
        raise InputError(f"{path} cannot be read as {what} ({reason}): {remedy}.") from error


def read_json(path: Path, kind: Any, what: str, remedy: str) -> Any:
    """Read a JSON file whose values have the types that `kind` declares; what it does not mention is kept as it is."""
    with reading(path, what, remedy):
        return checked(json.loads(path.read_text(encoding="utf-8")), kind)


def checked(values: Any, kind: Any) -> Any:
    """Return plain values as they are, once they have the types that `kind` declares; else raise `TypeError`."""
    try:
        msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from error
    return values


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system, or a name that no file can have, into a sentence with a remedy."""
    try:
        yield
    except OSError as error:
        raise InputError(_explained(error, path)) from error
    except ValueError as error:
        if _is_possible(path):
            raise
        raise InputError(f"{path} cannot be the name of a file: choose another path.") from error


@contextmanager
def replacing(path: Path, *, new_folder: bool = True) -> Iterator[Path]:
    """Yield a temporary path, and move what was written there to the file's own path in one step.

    Its folder is made where it is missing, unless that would bring back one that was removed.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.{_PART}"
    with writing(path):
        try:
            if path.exists() and not path.is_file():
                raise InputError(
                    f"{path} is a folder or a device and cannot be replaced by a file: give another path."
                )
            if new_folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush_to_disk(temporary)
            temporary.replace(path)
            flush_to_disk(path.parent)
        finally:
            # Where even the name is impossible (too long, below a file), there is nothing to remove.
            with suppress(OSError, ValueError):
                temporary.unlink()


@contextmanager
def replacing_folder(path: Path, *, ours: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, and move it to its destination in one step.

    What lies there is replaced only if the caller knows it as `ours`, whole.
    """
    with writing(path):
        destination = path.resolve()
        _check_folder(path, destination, ours=ours)
        destination.parent.mkdir(parents=True, exist_ok=True)
        _recover(destination)
        temporary = destination.parent / f".{destination.name}.{os.getpid()}.{_PART}"
        new = temporary / "new"
        try:
            new.mkdir(parents=True)
            yield new
            _move(new, destination, aside=temporary / "old")
            flush_to_disk(destination.parent)
        finally:
            _discard(temporary, destination)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def free_space(path: Path) -> int:
    """Return the bytes that are free where a file or folder is, or is going to be."""
    with writing(path):
        known = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        return shutil.disk_usage(known).free


def expanded(path: Path | str) -> Path:
    """Return a path in which ~ stands for the user's home folder, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{path} begins with ~, but that user has no home folder: write the path in full."
        ) from error


def remove_leftovers(folder: Path, *names: str) -> None:
    """Remove what killed processes were writing in the place of these files, in a folder that the caller locked."""
    for name in names:
        for leftover in _leftovers(folder / name):
            if not leftover.is_dir():
                leftover.unlink()


def refuse_own_input(out: Path, *inputs: Path) -> None:
    """Refuse an output that is one of the inputs, holds one or lies in one: to write it would destroy what is read."""
    for given in inputs:
        with writing(out):
            one = out.resolve()
        with writing(given):
            other = given.resolve()
            if os.path.lexists(given) and (one == other or other.is_relative_to(one)):
                raise InputError(f"{out} is or holds {given}, which is read: give another --out.")


def refuse_existing(out: Path, *, force: bool) -> None:
    """Refuse to replace a file without `force`."""
    with writing(out):
        if out.is_dir():
            raise InputError(f"{out} is a folder, but a file is to be written there: give another path.")
        if out.exists() and not force:
            raise InputError(f"{out} exists: give another --out, or --force to replace it.")


def _check_folder(path: Path, destination: Path, *, ours: bool) -> None:
    """Refuse to replace a file, the current folder, and what is not ours."""
    if not destination.exists():
        return
    if not destination.is_dir():
        raise InputError(f"{path} is a file and cannot be replaced by a folder: give another path.")
    if Path.cwd().is_relative_to(destination):
        raise InputError(f"{path} is the current folder or contains it: give the path of a new folder.")
    if not ours and any(destination.iterdir()):
        raise InputError(f"{path} is not empty: give a new folder, or --force to replace an earlier export.")


def _move(new: Path, destination: Path, *, aside: Path) -> None:
    """Move a folder to its destination: exchanged with the old one, or that is moved aside, and back if this fails."""
    if not destination.exists():
        new.rename(destination)
    elif not _exchanged(new, destination):
        try:
            destination.rename(aside)
            new.rename(destination)
        except BaseException:
            if aside.exists() and not destination.exists():
                aside.rename(destination)
            raise


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0  # type: ignore[no-any-return]


def _discard(temporary: Path, destination: Path) -> None:
    """Remove a temporary folder; where an interruption left the only old copy there, move that back first."""
    aside = temporary / "old"
    with suppress(OSError):
        if aside.exists() and not destination.exists():
            aside.rename(destination)
    if not aside.exists() or destination.exists():
        shutil.rmtree(temporary, ignore_errors=True)


def _recover(destination: Path) -> None:
    """Put right what killed processes left beside a folder."""
    for leftover in _leftovers(destination):
        _discard(leftover, destination)


def _leftovers(path: Path) -> list[Path]:
    """Return temporary files or folders of a path whose processes are gone."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.{_PART}")
    found = ((entry, pattern.fullmatch(entry.name)) for entry in path.parent.iterdir())
    return [entry for entry, match in found if match and not _is_alive(int(match[1]))]


def _is_alive(process: int) -> bool:
    """Whether a process of this machine exists, other than this one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def flush_to_disk(path: Path) -> None:
    """Flush a file or a folder's entries to the disk: after a crash a renamed file must not be empty."""
    if path.is_dir() and os.name != "posix":
        return
    # Windows flushes only what may be written to.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_possible(path: Path) -> bool:
    """Whether a file can have this name at all: without a NUL, and of letters that exist."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _explained(error: OSError, path: Path) -> str:
    """Return a sentence with a remedy for an error of the operating system."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"No space left on the disk while writing {path}: free some space and try again; nothing was changed."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{path} cannot be written (permission denied): choose a folder that you may write to."
    return f"{path} cannot be written ({error.strerror or error}): choose another path."
