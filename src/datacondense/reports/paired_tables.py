"""What the entries of a study are above the entries that they are paired with."""

from itertools import product
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING

from datacondense.reports.layout import NOTHING, accuracy, plain, points, table

if TYPE_CHECKING:
    from datacondense.studies.results import Difference, EntryResult, StudyResult
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
    "outer draws",
)


def paired_part(result: "StudyResult") -> str:
    """Write the part of a page that compares each paired entry with its partner.

    Args:
        result: The study and its numbers.

    Returns:
        Heading, a table with a line for each entry that is paired and for each partner, and what the words mean;
        nothing where no entries are paired.
    """
    paired = result.study.paired
    if not paired:
        return ""
    header = [plain(result.study.row_axis), plain(result.study.column_axis), *_HEADER]
    differences = result.differences
    partners = set(paired.values())
    rows = [
        _row(result, place, differences.get(place))
        for place in product(result.study.rows, result.study.columns)
        if place in result.entries and (place in paired or place in partners)
    ]
    parts = ["## Paired with plain matching", table(header, rows, words=3), _notes(result)]
    return "\n\n".join(parts)


def paired_numbers(entry: "EntryResult", difference: "Difference | None", *, timed: bool) -> list[str]:
    """Give the numbers of an entry for `PAIRED_COLUMNS`.

    Args:
        entry: The entry.
        difference: To its partner, if it has one.
        timed: Whether to tell seconds: studies with pairs do, while no number of others changes from run to run.

    Returns:
        Learning rates, with blanks between several, mean seconds and outer draws, and percentage points; what is
        unknown is empty.
    """
    seconds = f"{fmean(entry.condensing_seconds):.3f}" if entry.condensing_seconds and timed else ""
    iterations = f"{fmean(entry.iterations):.1f}" if entry.iterations else ""
    ends = () if difference is None else (difference.mean, *difference.interval, *difference.bootstrap)
    numbers = [f"{100 * end:.6f}" if isfinite(end) else "" for end in ends]
    return [_rates(entry, " "), seconds, iterations, *numbers, *[""] * (5 - len(numbers))]


def _row(result: "StudyResult", place: "Entry", difference: "Difference | None") -> list[str]:
    """Write the line of one entry; a partner has no difference."""
    entry, partner = result.entries[place], result.study.paired.get(place)
    seconds = f"{fmean(entry.condensing_seconds):.1f}" if entry.condensing_seconds else ""
    size = (
        (entry.n, entry.sets)
        if partner is None
        else (difference.n, difference.sets)
        if difference
        else (0, 0)
    )
    return [
        *map(plain, place),
        "" if partner is None else _partner(place, partner),
        accuracy(entry) if entry.n else NOTHING,
        *([""] * 4 if partner is None else _compared(difference)),
        *map(str, size),
        _rates(entry, ", "),
        seconds,
        f"{fmean(entry.iterations):.0f}" if entry.iterations else "",
    ]


def _compared(difference: "Difference | None") -> list[str]:
    """Write a difference, its intervals and its verdict, as far as it is known."""
    if difference is None:
        return [NOTHING] * 4
    intervals = [
        f"{points(low)} to {points(high)}" if isfinite(low) else NOTHING
        for low, high in (difference.interval, difference.bootstrap)
    ]
    return [points(difference.mean), *intervals, difference.verdict]


def _partner(place: "Entry", partner: "Entry") -> str:
    """Name a partner by the labels that it does not share with the entry."""
    own = [plain(other) for mine, other in zip(place, partner, strict=True) if mine != other]
    return ", ".join(own)


def _rates(entry: "EntryResult", between: str) -> str:
    """List the learning rates that the sets of an entry chose."""
    return between.join(f"{rate:g}" for rate in entry.image_lrs)


def _notes(result: "StudyResult") -> str:
    """Explain differences, intervals and verdicts."""
    known = result.differences
    sentences = [
        "Networks are paired by the seed of their set and by number: n counts pairs, and the difference is the mean "
        "over the sets. The interval is Student's t over the means of the sets, and it alone decides: a gain lies "
        "above zero, a loss below, and undecided is what holds zero. The bootstrap draws sets, then networks on each "
        "(percentiles of 2000 means); it is too narrow where sets are few, and stands here to be compared with tables "
        "that have no other interval.",
        "A single set has no interval and decides nothing."
        if any(difference.sets == 1 for difference in known.values())
        else "",
        f"{NOTHING} in the place of a difference means that no pair is finished."
        if result.study.paired.keys() & result.entries.keys() - known.keys()
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)
