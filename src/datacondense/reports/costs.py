"""What the sets of a study cost beside what they give: share of the data, time and memory."""

from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING

from datacondense.reports.layout import NOTHING, accuracy, plain, table

if TYPE_CHECKING:
    from datacondense.studies.results import EntryResult, StudyResult

COST_COLUMNS = ("ratio", "shared_seconds", "memory_peak", "memory_added", "evaluating_seconds")
_HEADER = (
    "ratio, %",
    "n",
    "sets",
    "accuracy, %",
    "outer draws",
    "condensing, s",
    "shared, s",
    "peak memory, MiB (added)",
    "evaluation, s",
)
_NOTES = (
    "Ratio is the share of the training images that a set holds. Times and memory are means over the sets: condensing "
    "is learning or selections one set, shared is what selections needs once for all sets of a network (training it on the "
    "whole set, and its features), and evaluation is training and testing one network. Choosing learning rates is not "
    "counted. Peak memory is that of the process (on a GPU, of its tensors) while the set was made, in brackets the "
    "part that was not there before (program and images were). Times hold for the machine below and what ran beside."
)


def costs_part(result: "StudyResult") -> str:
    """Write the part of a page that lists accuracy, time and memory of every entry.

    Args:
        result: The study and its numbers.

    Returns:
        Heading, a table with a line for each entry and one for the whole data set, and what the words mean; nothing
        for studies that list no costs.
    """
    study = result.study
    if not study.ratios:
        return ""
    rows = [
        [plain(row), plain(column), f"{study.ratios[column]:.3g}", *_numbers(result.entries[row, column])]
        for column, row in product(study.columns, study.rows)
        if (row, column) in result.entries
    ]
    if result.full is not None:
        rows.append(["whole data set", "all", "100", *_numbers(result.full)])
    header = [plain(study.row_axis), plain(study.column_axis), *_HEADER]
    return "\n\n".join(["## Costs", table(header, rows, words=2), _NOTES])


def cost_numbers(entry: "EntryResult", ratio: float) -> list[str]:
    """Give the costs of an entry for `COST_COLUMNS`.

    Args:
        entry: The entry.
        ratio: Share of the training images, in percent.

    Returns:
        Percent, mean seconds and MiB; what is unknown is empty.
    """
    peaks, added = _memory(entry)
    means = (entry.shared_seconds, peaks, added, entry.evaluating_seconds)
    return [f"{ratio:.6f}", *(f"{fmean(values):.3f}" if values else "" for values in means)]


def _numbers(entry: "EntryResult") -> list[str]:
    """Write the numbers of an entry."""
    peaks, added = _memory(entry)
    memory = f"{fmean(peaks):.0f} ({fmean(added):.0f})" if peaks else NOTHING
    return [
        str(entry.n),
        str(entry.sets) if entry.origins else NOTHING,
        accuracy(entry) if entry.n else NOTHING,
        f"{fmean(entry.iterations):.6g}" if entry.iterations else NOTHING,
        _seconds(entry.condensing_seconds),
        _seconds([seconds for seconds in entry.shared_seconds if seconds]),
        memory,
        _seconds(entry.evaluating_seconds),
    ]


def _memory(entry: "EntryResult") -> tuple[list[float], list[float]]:
    """Part peaks and what was added."""
    return [peak for peak, _ in entry.memory], [added for _, added in entry.memory]


def _seconds(values: Sequence[float]) -> str:
    """Write a mean of seconds, with tenths where it is short."""
    if not values:
        return NOTHING
    mean = fmean(values)
    return f"{mean:.1f}" if mean < 100 else f"{mean:.0f}"
