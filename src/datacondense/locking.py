"""One lock for every folder that two processes must not write to: freed when its process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from datacondense.errors import InputError


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder's lock file; where another process holds it, `wait` or refuse."""
    lock = FileLock(path, blocking=wait)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{path.parent} is in use by another run: wait for it to end, or give another --out."
        ) from error
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written ({error.strerror}): choose a folder that you may write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds a folder's lock file, or may: another user's cannot be tried."""
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False):
            return False
    except (Timeout, PermissionError):
        return True
