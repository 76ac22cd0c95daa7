"""The costs of a study's sets beside their accuracy: size, time and memory."""

from collections.abc import Sequence
from itertools import product
from statistics import fmean

from datacondense.reports.layout import NOTHING, accuracy, plain, table
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult

COST_COLUMNS = ("ratio", "shared_seconds", "memory_peak", "memory_added", "evaluating_seconds")
_HEADER = (
    "ratio, %",
    "n",
    "sets",
    "accuracy, %",
    "iterations",
    "condensing, s",
    "shared, s",
    "peak memory, MiB (added)",
    "evaluation, s",
)
_NOTES = (
    "Ratio is the size of a set in percent of the training images. Times and memory are means over the sets: "
    "condensing is the time to condense or select one set, shared is the time that selection needs once for all sets "
    "of a network (full training, and its features), and evaluation is the time to train and test one network. "
    "Learning-rate search is not counted. Peak memory is that of the process (on a GPU, of its tensors), in brackets "
    "the part that the set added to program and images. Times are valid only for the machine below and its load."
)


def costs_part(result: StudyResult) -> str:
    """Return the part of a page that lists accuracy, time and memory of every entry.

    Args:
        result: The study and its numbers.

    Returns:
        Heading, a table with a line for each entry and one for full training, and notes; empty for studies that list no
        costs.
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
        rows.append(["full data set", "all", "100", *_numbers(result.full)])
    header = [plain(study.row_axis), plain(study.column_axis), *_HEADER]
    return "\n\n".join(["## Costs", table(header, rows, words=2), _NOTES])


def cost_numbers(entry: EntryResult, ratio: float) -> list[str]:
    """Return the costs of an entry for `COST_COLUMNS`.

    Args:
        entry: The entry.
        ratio: Size in percent of the training images.

    Returns:
        Percent, mean seconds and MiB; unknown values are empty.
    """
    peaks, added = _memory(entry)
    means = (entry.shared_seconds, peaks, added, entry.evaluating_seconds)
    return [f"{ratio:.6f}", *(f"{fmean(values):.3f}" if values else "" for values in means)]


def _numbers(entry: EntryResult) -> list[str]:
    """Return the numbers of an entry as texts."""
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


def _memory(entry: EntryResult) -> tuple[list[float], list[float]]:
    """Return the peaks, and the parts that the sets added."""
    return [peak for peak, _ in entry.memory], [added for _, added in entry.memory]


def _seconds(values: Sequence[float]) -> str:
    """Return a mean of seconds as text, with tenths if it is short."""
    if not values:
        return NOTHING
    mean = fmean(values)
    return f"{mean:.1f}" if mean < 100 else f"{mean:.0f}"
