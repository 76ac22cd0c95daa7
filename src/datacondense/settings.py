"""What all settings have in common: things by name or as objects, checks, and their plain form."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from datacondense.errors import InputError
from datacondense.user_code import name_of

_NAME: Any = None
_IPC_OF: Any = None
REPEATED: Any = None
"""Marks a setting whose option is given once for each value."""
HIDDEN: Any = None
"""Marks a setting that is no option of the command line."""

try:
    from tyro.conf import Suppress, UseAppendAction
    from tyro.constructors import PrimitiveConstructorSpec
except ModuleNotFoundError:  # Python alone needs no command line
    pass
else:
    REPEATED, HIDDEN = UseAppendAction, Suppress
    _NAME = PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str) or callable(value),
        str_from_instance=lambda value: [name_of(value)],
    )
    _IPC_OF = PrimitiveConstructorSpec(
        nargs=1,
        metavar="CLASS=N,…",
        instance_from_str=lambda words: _ipc_of(words[0]),
        is_instance=lambda value: value is None or isinstance(value, Mapping),
        str_from_instance=lambda value: [",".join(f"{name}={n}" for name, n in (value or {}).items())],
    )

Named: TypeAlias = Annotated[str | Callable[..., Any], _NAME]
"""A built-in name, "package.module:name" of one's own, or, in Python, the object itself."""

IpcOf: TypeAlias = Annotated[Mapping[str, int] | None, _IPC_OF]
"""Images per class of some classes by their names; on the command line as "CLASS=N,CLASS=N"."""

SettingsT = TypeVar("SettingsT")

_MOST = 10**9
_MOST_OF = {
    "ipc": 10**6,
    "jobs": 4096,
    "processes": 1024,
    "resize": 10**4,
    "seed": 2**63 - 1,  # signed integers of other programs
    "threads": 1024,
    **dict.fromkeys(
        ("num_batches", "num_networks", "repeats", "search_repeats", "search_seeds", "seeds"), 10**5
    ),
}
"""The largest numbers that can be meant, of settings that need another bound than most."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LARGEST_RATE, _SMALLEST_RATE = 3.4e38, 1.5e-45  # of float32, in which they are used


def added(default: Any) -> Any:
    """Return the field of an option that a later release added, whose default is what was done before.

    While it is at its default it is recorded nowhere, so that old runs continue and old records are still found.
    """
    return field(default=default, metadata={"added": True})


def plain_settings(settings: Any) -> dict[str, Any]:
    """Return settings as plain values, callables by their names, for provenance; see `added` for what is left out."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return name_of(value) if callable(value) else value

    return {
        known.name: plain(getattr(settings, known.name))
        for known in fields(settings)
        if not (known.metadata.get("added") and getattr(settings, known.name) == known.default)
    }


def narrowed(kind: type[SettingsT], settings: Any, **changes: Any) -> SettingsT:
    """Return settings as another type of the same fields, such as one that allows no None."""
    return kind(**{known.name: getattr(settings, known.name) for known in fields(settings)} | changes)


def check_at_least(settings: object, least: int, *names: str) -> None:
    """Check that whole numbers are neither below the least nor larger than can be meant; None passes."""
    for name in names:
        check_number(name, getattr(settings, name), least)


def check_number(name: str, value: int | None, least: int) -> None:
    """Check one whole number, see `check_at_least`."""
    most = _MOST_OF.get(name, _MOST)
    if value is not None and not value >= least:
        raise InputError(f"{name} is {value}, but must be {least} or more.")
    if value is not None and value > most:
        raise InputError(f"{name} is {value}, but can be {most} at most: give a smaller number.")


def images_per_class(
    ipc: int, ipc_of: Mapping[str, int] | None, class_names: Sequence[str]
) -> tuple[int, ...]:
    """Return the images of each class: `ipc`, or what `ipc_of` says of some."""
    numbers = dict(ipc_of or {})
    for name, number in numbers.items():
        if name not in class_names:
            few = ", ".join(class_names[:5]) + (", …" if len(class_names) > 5 else "")
            raise InputError(
                f"ipc_of names the class {name!r}, but the classes are {few}: give names of these."
            )
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(
                f"ipc_of is {number!r} for the class {name!r}, but must be a whole number from 1 on."
            )
        check_number("ipc", number, 1)
    return tuple(numbers.get(name, ipc) for name in class_names)


def _ipc_of(text: str) -> dict[str, int]:
    """Read "CLASS=N,CLASS=N"; a name may have an equals sign."""
    found = {}
    for part in text.split(","):
        name, sign, number = part.rpartition("=")
        if not sign or not name or not number.isascii() or not number.isdigit():
            raise ValueError(f"{part!r} is no CLASS=N such as cat=50")
        found[name] = int(number)
    return found


def seconds_of(name: str, text: str, others: str = "") -> float:
    """Return a time such as "90s", "10m" or "2h" in seconds; the complaint names what else may be given."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None or float(match[1]) == 0:
        raise InputError(
            f"{name} is {text!r}, but must be {others}a number above 0 with a unit (s, m, h, d) as in 10m."
        )
    return float(match[1]) * _UNITS[match[2]]


def check_rates(settings: object, *names: str) -> None:
    """Check that learning rates are numbers above 0, finite in float32; None passes."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not is_rate(value):
            raise InputError(
                f"{name} is {value}, but a learning rate must be a number above 0 and below 3e38."
            )


def is_rate(value: float) -> bool:
    """Whether a number is above 0 and finite in float32, the type in which learning rates are used."""
    return _SMALLEST_RATE <= value <= _LARGEST_RATE


def check_momenta(settings: object, *names: str) -> None:
    """Check that momenta are at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise InputError(f"{name} is {getattr(settings, name)}, but must be at least 0 and below 1.")


def check_probability(name: str, value: float) -> None:
    """Check that a probability is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value}, but must be from 0 to 1.")


def joined_keys(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings and dataclasses as one mapping, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = plain_settings(value) if is_dataclass(value) and not isinstance(value, type) else value
        flat |= (
            joined_keys(nested, f"{prefix}{key}.") if isinstance(nested, Mapping) else {prefix + key: nested}
        )
    return flat
