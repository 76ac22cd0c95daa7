"""The paired differences of a study as a table."""

from itertools import product
from math import isfinite
from statistics import fmean

from datacondense.reports.layout import NOTHING, accuracy, plain, points, table
from datacondense.studies.differences import Difference, EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Entry

PAIRED_COLUMNS = (
    "image_lr",
    "condensing_seconds",
    "iterations",
    "difference",
    "difference_low",
    "difference_high",
    "bootstrap_low",
    "bootstrap_high",
)
_HEADER = (
    "paired with",
    "accuracy, %",
    "difference, points",
    "95 % interval (t)",
    "95 % bootstrap",
    "verdict",
    "n",
    "sets",
    "image learning rate",
    "condensing, s",
    "iterations",
)


def paired_part(result: StudyResult) -> str:
    """Return the part of a page that compares each paired entry with its partner.

    Args:
        result: The study and its numbers.

    Returns:
        Heading, a table with a line for each paired entry and each partner, and notes; empty if no entries are paired.
    """
    paired = result.study.paired
    if not paired:
        return ""
    header = [plain(result.study.row_axis), plain(result.study.column_axis), *_HEADER]
    differences = result.differences
    partners = set(paired.values())
    rows = [
        _row(result, entry, differences.get(entry))
        for entry in product(result.study.rows, result.study.columns)
        if entry in result.entries and (entry in paired or entry in partners)
    ]
    parts = ["## Paired with plain matching", table(header, rows, words=3), _notes(result)]
    return "\n\n".join(parts)


def paired_numbers(entry: EntryResult, difference: Difference | None, *, timed: bool) -> list[str]:
    """Return the numbers of an entry for `PAIRED_COLUMNS`.

    Args:
        entry: The entry.
        difference: The difference to its partner, if it has one.
        timed: Whether to include seconds; without them the same study gives the same table in every run.

    Returns:
        Learning rates separated by blanks, mean seconds and iterations, and percentage points; unknown values are
        empty.
    """
    seconds = f"{fmean(entry.condensing_seconds):.3f}" if entry.condensing_seconds and timed else ""
    iterations = f"{fmean(entry.iterations):.1f}" if entry.iterations else ""
    ends = () if difference is None else (difference.mean, *difference.interval, *difference.bootstrap)
    numbers = [f"{100 * end:.6f}" if isfinite(end) else "" for end in ends]
    return [_rates(entry, " "), seconds, iterations, *numbers, *[""] * (5 - len(numbers))]


def _row(result: StudyResult, entry: Entry, difference: Difference | None) -> list[str]:
    """Return the line of one entry; a partner has no difference."""
    found, partner = result.entries[entry], result.study.paired.get(entry)
    seconds = f"{fmean(found.condensing_seconds):.1f}" if found.condensing_seconds else ""
    size = (
        (found.n, found.sets)
        if partner is None
        else (difference.n, difference.sets)
        if difference
        else (0, 0)
    )
    return [
        *map(plain, entry),
        "" if partner is None else _partner(entry, partner),
        accuracy(found) if found.n else NOTHING,
        *([""] * 4 if partner is None else _compared(difference)),
        *map(str, size),
        _rates(found, ", "),
        seconds,
        f"{fmean(found.iterations):.0f}" if found.iterations else "",
    ]


def _compared(difference: Difference | None) -> list[str]:
    """Return a difference, its intervals and its verdict as texts."""
    if difference is None:
        return [NOTHING] * 4
    intervals = [
        f"{points(low)} to {points(high)}" if isfinite(low) else NOTHING
        for low, high in (difference.interval, difference.bootstrap)
    ]
    return [points(difference.mean), *intervals, difference.verdict]


def _partner(entry: Entry, partner: Entry) -> str:
    """Return the labels that a partner does not share with the entry."""
    own = [plain(other) for mine, other in zip(entry, partner, strict=True) if mine != other]
    return ", ".join(own)


def _rates(entry: EntryResult, between: str) -> str:
    """Return the learning rates that searches found for the sets of an entry."""
    return between.join(f"{rate:g}" for rate in entry.image_lrs)


def _notes(result: StudyResult) -> str:
    """Return notes on differences, intervals and verdicts."""
    known = result.differences
    sentences = [
        "Networks are paired by the seed of their set and their number: n counts pairs, and the difference is the mean "
        "over the sets. The interval is Student's t over the means of the sets, and it alone decides: gain if it lies "
        "above zero, loss if below, undecided if it contains zero. The bootstrap resamples sets, then networks on each "
        "(percentiles of 2000 means); it is too narrow for few sets, and is printed only for comparison with tables "
        "that have no other interval.",
        "A single set has no interval and decides nothing."
        if any(difference.sets == 1 for difference in known.values())
        else "",
        f"{NOTHING} instead of a difference means that no pair is finished."
        if result.study.paired.keys() & result.entries.keys() - known.keys()
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)
