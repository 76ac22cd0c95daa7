"""The environments in which the numbers of a page were computed."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacondense.reports.layout import plain

_ENVIRONMENT = ("engine", "precision", "threads", "torch", "device", "datacondense")  # listed first
_MIXED = {
    "precision": "precisions",
    "threads": "numbers of threads",
    "torch": "versions of torch",
    "device": "devices",
    "datacondense": "versions of datacondense",
}


def environments_part(environments: Sequence[Mapping[str, Any]]) -> str:
    """Return the part of a page that lists the environments, and warns if they differ in what numbers depend on.

    Args:
        environments: The environments that the records have.

    Returns:
        Heading, a line for each, and a warning if they differ; empty if none is known.
    """
    if not environments:
        return ""
    lines = sorted({_environment(environment) for environment in environments})
    mixed = [
        words
        for name, words in _MIXED.items()
        if len({str(environment.get(name)) for environment in environments}) > 1
    ]
    warning = (
        f"**The table mixes different {' and '.join(mixed)}**, which may cause differences between entries."
    )
    return "\n\n".join(["## Environments", "\n".join(lines), *([warning] if mixed else [])])


def _environment(values: Mapping[str, Any]) -> str:
    """Return one environment as a line."""
    first = [name for name in _ENVIRONMENT if name in values]
    names = [*first, *sorted(set(values) - set(first))]
    return "- " + plain(", ".join(f"{name} {values[name]}" for name in names))
