"""The numbers of a gradient noise measurement as plain JSON values, from which its page can be written again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from datacondense.matching.decomposition import Decomposition
from datacondense.studies.noise_running import NoiseResult, read_entry


def noise_record(result: NoiseResult) -> dict[str, Any]:
    """Return a measurement as plain JSON values, class by class.

    Args:
        result: The numbers.

    Returns:
        Plain JSON values.
    """
    return {
        "networks": list(result.networks),
        "variants": list(result.variants),
        "entries": [
            {
                "network": network,
                "variant": variant,
                "all_classes": _parts(entry.all_classes),
                "classes": [{"name": name, "parts": _parts(parts)} for name, parts in entry.classes],
            }
            for (network, variant), entry in result.entries.items()
        ],
        "environments": list(result.environments),
    }


def read_noise_record(values: Mapping[str, Any]) -> NoiseResult:
    """Read what `noise_record` wrote.

    Args:
        values: Plain JSON values; additional ones are ignored.

    Returns:
        The numbers.
    """
    return NoiseResult(
        networks=tuple(values["networks"]),
        variants=tuple(values["variants"]),
        entries={(entry["network"], entry["variant"]): read_entry(entry) for entry in values["entries"]},
        environments=values["environments"],
    )


def _parts(decomposition: Decomposition | None) -> dict[str, Any] | None:
    """Return a decomposition as plain JSON values."""
    return None if decomposition is None else asdict(decomposition)
