"""The commands that are printed: what to do with a set, and what repeats the numbers of a study."""

import shlex
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast, get_origin

import tyro

from datacondense.data.config import DataConfig

_PROGRAM = "datacondense"


def command_line(words: list[str], *configs: Any) -> str:
    """Return a command with the options for all values of its configs that are not defaults."""
    return shlex.join([_PROGRAM, *words, *(word for config in configs for word in _flags(config))])


def told_what_is_given(kind: Any, args: Sequence[str]) -> Callable[..., Any]:
    """Return a subcommand whose class variable `given` names the options in its arguments."""
    given = frozenset(word[2:].partition("=")[0].replace("-", "_") for word in args if word.startswith("--"))
    plain = get_origin(kind) or kind
    body = {"given": given, "__doc__": plain.__doc__, "__module__": plain.__module__}
    told = types.new_class(plain.__name__, (kind,), exec_body=lambda names: names.update(body))
    return cast(Callable[..., Any], told)


def what_next(
    result: Path, picture: Path, dataset: str | None, data: DataConfig, network: object = None
) -> str:
    """Return the commands that score a set, unless no data set can, and plot it.

    Args:
        result: The set.
        picture: Where to plot it; another name is taken where that exists.
        dataset: The data set to score it on, and how it is read; None where it has no test images.
        data: How the data set is read.
        network: What the set was learned on; a network of the user's own is named, since no file may.

    Returns:
        Two lines, or one.
    """
    own = ["--network", network] if isinstance(network, str) and ":" in network else []
    score = [] if dataset is None else [command_line(["evaluate", str(result), "--on", dataset, *own], data)]
    plot = command_line(["show", str(result), "--out", str(_free(picture))])
    return "\n".join([*(f"Score it:   {command}" for command in score), f"Look at it: {plot}"])


def _free(path: Path) -> Path:
    """Return a path at which nothing is: this one, or one with a number."""
    candidates = (path if not n else path.with_stem(f"{path.stem}-{n}") for n in count())
    return next(candidate for candidate in candidates if not candidate.exists())


def _flags(config: Any, usual: Any = None) -> list[str]:
    """Return the options for all values that are not defaults, in settings within settings too."""
    words: list[str] = []
    usual = type(config)() if usual is None else usual
    for known in fields(config):
        value, default = getattr(config, known.name), getattr(usual, known.name)
        option = f"--{known.name.replace('_', '-')}"
        if is_dataclass(value):
            words += _flags(value, default)
        elif value == default:
            continue
        elif value is True:
            words.append(option)
        elif tyro.conf.UseAppendAction in getattr(known.type, "__metadata__", ()):
            words += [word for item in value for word in (option, str(item))]
        elif isinstance(value, Mapping):
            words += [option, ",".join(f"{name}={number}" for name, number in value.items())]
        else:
            words += [option, *map(str, value if isinstance(value, tuple) else (value,))]
    return words
