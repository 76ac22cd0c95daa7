"""A user's own study: a TOML file that lists variants, or a Python file that declares anything."""

import hashlib
import runpy
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.renamed import current_name
from datacondense.studies.factory import Declaration, TaskFactory, grid, refuse_parameters
from datacondense.studies.study import Study
from datacondense.user_code import is_user_name

_KEYS = ("title", "row_axis", "column_axis", "plot", "rows", "columns")
_PLOTS = ("heat map", "curves")  # differences need pairs, which a file cannot declare


def read_declaration(path: Path, *, trust_code: bool = False) -> Declaration:
    """Read a study from a file.

    A TOML file has a table `rows` of condensation settings by label (fields of `GradientMatchingConfig`, or
    `iterations`), a table `columns` of evaluation settings by label (fields of `EvaluationConfig`), and optionally
    title, row_axis, column_axis and plot; it may name code of one's own only with `trust_code`. A Python file has a
    function `study(tasks: TaskFactory) -> Study`; it is executed, so it must be trusted.
    """
    if not path.is_file():
        raise InputError(f"There is no study {str(path)!r}: give a known name, or a .toml or .py file.")
    if path.suffix == ".toml":
        return _from_toml(path, trust_code=trust_code)
    if path.suffix == ".py":
        return _from_python(path)
    raise InputError(f"{path} is neither a .toml nor a .py file: write the study as one of these.")


def _from_python(path: Path) -> Declaration:
    """Execute a file and return its function."""
    # Two files, or two versions of one, are two modules: their tasks must not be mistaken for each other's.
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    declare: Declaration | None = runpy.run_path(str(path), run_name=f"study_{content}").get("study")
    if not callable(declare):
        raise InputError(f"{path} has no function study(tasks): define one that returns a Study.")
    return declare


def _from_toml(path: Path, *, trust_code: bool) -> Declaration:
    """Read a file and check its form; the configs check the values."""
    with reading(path, "TOML", "correct it"):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise InputError(f"{path} has the unknown key {unknown[0]!r}: choose from {', '.join(_KEYS)}.")
    rows, columns = (_variants(content, path, name) for name in ("rows", "columns"))
    named = [name for variant in (*rows.values(), *columns.values()) for name in _code_names(variant)]
    if named and not trust_code:
        raise InputError(
            f"{path} names {named[0]}, code that is not part of datacondense, and code is never imported because a "
            "file names it: give --trust-code if you trust it."
        )

    plot = content.get("plot", "heat map")
    if plot not in _PLOTS:
        raise InputError(f"{path} has the plot {plot!r}: choose one of {', '.join(_PLOTS)}.")

    def declare(tasks: TaskFactory) -> Study:
        return Study(
            name=path.stem,
            title=str(content.get("title", path.stem)),
            rows=tuple(rows),
            columns=tuple(columns),
            row_axis=str(content.get("row_axis", "condensed with")),
            column_axis=str(content.get("column_axis", "trained with")),
            entries=grid(
                tasks,
                rows={label: tasks.condensed(**changes) for label, changes in rows.items()},
                columns=columns,
            ),
            plot=plot,
        )

    return declare


def _code_names(variant: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of code of one's own among the settings of a variant."""
    for setting in ("network", "distance", "transform"):
        value = variant.get(setting)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and is_user_name(name):
                yield name


def _variants(content: Mapping[str, Any], path: Path, name: str) -> dict[str, dict[str, Any]]:
    """Return the variants of one axis."""
    variants = content.get(name)
    if (
        not isinstance(variants, dict)
        or not variants
        or not all(isinstance(variant, dict) for variant in variants.values())
    ):
        raise InputError(
            f"{path} needs a table {name} of variants, each a table of settings, such as [{name}.ConvNet] with "
            'network = "convnet".'
        )
    found = {
        label: {current_name(setting): value for setting, value in settings.items()}
        for label, settings in variants.items()
    }
    for settings in found.values():
        refuse_parameters(settings)
    return found
