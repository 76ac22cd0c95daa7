"""The words of docs/noise-aware.md; every number in them is read from a record."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from datacondense.reports.noise_records import read_noise_record
from datacondense.reports.study_records import read_study_record

Values = Mapping[str, Any]


class Numbers:
    """Looks numbers up in the records and writes them as the text wants them."""

    def __init__(
        self, studies: Mapping[str, Values], noises: Mapping[str, Values], contents: Mapping[str, Values]
    ) -> None:
        self._studies = {
            stem.removesuffix("-ipc1"): read_study_record(values) for stem, values in studies.items()
        }
        self._noises = {stem: read_noise_record(values) for stem, values in noises.items()}
        self._contents = contents

    def accuracy(self, study: str, row: str, column: str) -> str:
        """Write mean ± std in percent."""
        entry = self._studies[f"study-{study}"].entries[row, column]
        return f"{100 * entry.mean:.1f}±{100 * entry.std:.1f}"

    def difference(self, study: str, row: str, column: str) -> str:
        """Write a paired difference in points, its interval of Student's t, n and sets."""
        found = self._studies[f"study-{study}"].differences[row, column]
        low, high = (100 * end for end in found.interval)
        interval = f"{low:+.1f} to {high:+.1f}, " if isfinite(low) else ""
        return f"{100 * found.mean:+.1f} points ({interval}n = {found.n} on {found.sets} sets)"

    def count(self, study: str, verdict: str) -> str:
        """Count the paired entries of a verdict."""
        found = [each.verdict for each in self._studies[f"study-{study}"].differences.values()]
        return f"{found.count(verdict)} of {len(found)}"

    def draws(self, study: str, row: str, column: str) -> str:
        """Write the mean number of outer draws."""
        draws = self._studies[f"study-{study}"].entries[row, column].draws
        return f"{sum(draws) / len(draws):.0f}"

    def share(self, dataset: str, network: str, variant: str, part: str = "data") -> str:
        """Write a share of the squared length of the pixel gradient, with its interval, in percent."""
        (result,) = (result for stem, result in self._noises.items() if stem.startswith(f"noise-{dataset}-"))
        parts = result.entries[network, variant].all_classes
        assert parts is not None
        component = getattr(parts, part)
        low, high = component.interval or (float("nan"),) * 2
        return f"{100 * component.share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"

    def content(self, study: str, row: str, column: str, name: str) -> str:
        """Write how far pixels spread, or the share of fine structure in percent."""
        values = self._contents[f"image-content-{study}-ipc1"]
        (entry,) = (each for each in values["entries"] if (each["row"], each["column"]) == (row, column))
        mean: float = entry[name]["mean"]
        return f"{100 * mean:.0f} %" if name == "fine" else f"{mean:.1f}"
