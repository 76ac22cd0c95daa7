"""The user's cache folder, and what in it may be trusted: what this user alone could have written."""

import os
import stat
from pathlib import Path

from datacondense.errors import InputError


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/datacondense, or ~/.cache/datacondense: the folder for what can be computed again."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given or Path.home() / ".cache") / "datacondense"
    except RuntimeError as error:
        raise InputError(
            "This user has no home folder to keep a cache in: name one with the environment variable XDG_CACHE_HOME."
        ) from error


def private_folder(path: Path) -> Path:
    """Make a folder that only this user may enter, and return it; refuse one that others could have written to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix":
        if path.stat().st_uid != os.getuid():
            raise InputError(
                f"{path} belongs to another user: name a folder of your own with XDG_CACHE_HOME."
            )
        path.chmod(0o700)
    return path


def is_private_file(path: Path) -> bool:
    """Whether a path is a regular file, no link, of this user, which no other one may write to."""
    if not path.is_file() or path.is_symlink():
        return False
    found = path.stat()
    return os.name != "posix" or (
        found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
