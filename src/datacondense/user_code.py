"""A user's own networks, distances, transforms and methods: imported by "package.module:name", and named so again.

Only names that the user gave are imported, by an option, in settings or in Python. A name that stands in a file is
data: `given_before` finds what the user gave in this process already, and imports nothing.
"""

import importlib
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

from datacondense.errors import InputError

_GIVEN: dict[str, Any] = {}  # None where a name stood for two different things


def check_user_name(name: str, what: str) -> None:
    """Check that a name has the form "package.module:name"; nothing is imported."""
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise InputError(
            f"{name!r} does not name a {what} of your own: write package.module:callable, with one colon, such as "
            f"my_{what}s:first for first in my_{what}s.py."
        )


def imported(name: str, what: str) -> Any:
    """Import a user's own "package.module:name", from the current folder too, as `python -m` does."""
    check_user_name(name, what)
    module_name, _, attribute = name.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        importlib.invalidate_caches()  # the file may be newer than Python's listing of the folder
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InputError(
            f"{name}: the module {module_name} cannot be imported ({type(error).__name__}: {error}): run from the "
            "folder that holds it, or install it."
        ) from error
    finally:
        sys.path.remove(folder)
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise InputError(
            f"{name}: the module {module_name} has no {attribute!r}: name a {what} that it defines."
        ) from error


def user_callable(given: Any, what: str, arguments: str) -> Callable[..., Any]:
    """Return a user's own function or class, given as "package.module:callable" or as itself."""
    found: Callable[..., Any] = imported(given, what) if isinstance(given, str) else given
    if not callable(found):
        raise InputError(
            f"{given if isinstance(given, str) else repr(given)} is of type {type(found).__name__}, which cannot be "
            f"called: give a function or class that takes {arguments}."
        )
    for name in {name_of(found), given if isinstance(given, str) else name_of(found)}:
        _GIVEN[name] = found if _GIVEN.get(name, found) is found else None
    return found


def is_user_name(name: str) -> bool:
    """Whether a name has the form of a user's own thing, which no built-in name has."""
    return ":" in name and all(part.isidentifier() for part in name.replace(":", ".").split("."))


def given_before(name: str, option: str) -> Any:
    """Return what a name out of a file stands for: what the user gave by it in this process; else refuse it."""
    if _GIVEN.get(name) is None:
        raise InputError(
            f"The set names {name}, code that is not part of datacondense, and code is never imported because a file "
            f"names it: give {option} {name} if you trust it."
        )
    return _GIVEN[name]


def name_of(thing: Any) -> str:
    """Return the name under which a user's own thing is recorded.

    That is "module:qualname" of a function or class, by which it can be imported again unless it was defined inside a
    function; "module:qualname" of the class of any other object; a string as it is.
    """
    if isinstance(thing, str):
        return thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"
