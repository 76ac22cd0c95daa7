"""What all settings have in common: things by name or as objects, checks, and their plain form."""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, TypeAlias

from tyro.constructors import PrimitiveConstructorSpec

from datacondense.errors import InputError
from datacondense.user_code import name_of

Named: TypeAlias = Annotated[
    str | Callable[..., Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str) or callable(value),
        str_from_instance=lambda value: [name_of(value)],
    ),
]
"""A built-in name, "package.module:name" of one's own, or, in Python, the object itself."""


def plain_settings(settings: Any) -> dict[str, Any]:
    """Return settings as plain values, for provenance.

    Args:
        settings: A dataclass of settings.

    Returns:
        Its fields; a callable by its name.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return name_of(value) if callable(value) else value

    return {known.name: plain(getattr(settings, known.name)) for known in fields(settings)}


def narrowed(kind: type[Any], settings: Any, **changes: Any) -> Any:
    """Return settings as another type of the same fields, such as one that allows no None.

    Args:
        kind: The other type.
        settings: The settings.
        **changes: Fields that change.

    Returns:
        The settings of that type.
    """
    return kind(**{known.name: getattr(settings, known.name) for known in fields(settings)} | changes)


def check_at_least(settings: object, least: int, *names: str) -> None:
    """Check whole numbers.

    Args:
        settings: The settings.
        least: The smallest value that is allowed.
        *names: Fields to check; None passes.

    Raises:
        InputError: One is smaller.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < least:
            raise InputError(f"{name} is {value}, but must be {least} or more.")


def check_rates(settings: object, *names: str) -> None:
    """Check learning rates.

    Args:
        settings: The settings.
        *names: Fields to check; None passes.

    Raises:
        InputError: One is not a finite number above 0.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}, but a learning rate must be a number above 0.")


def check_momenta(settings: object, *names: str) -> None:
    """Check momenta.

    Args:
        settings: The settings.
        *names: Fields to check.

    Raises:
        InputError: One is not at least 0 and below 1.
    """
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise InputError(f"{name} is {getattr(settings, name)}, but must be at least 0 and below 1.")
