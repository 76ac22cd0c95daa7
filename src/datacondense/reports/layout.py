"""Markdown of the pages of results: text that stays text, tables, and numbers as they are printed."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datacondense.studies.results import EntryResult

NOTHING = "–"


def plain(text: str) -> str:
    """Put text on one line, where none of its letters is taken for Markdown.

    Args:
        text: Any text.

    Returns:
        The line.
    """
    line = " ".join(str(text).split())
    # Inside a word an underscore is no emphasis; escaped everywhere, names would be hard to read and to search for.
    return re.sub(r"[\\`*\[\]<|~$&]|(?<!\w)_|_(?!\w)|^#", r"\\\g<0>", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Lay out a table.

    Args:
        header: What the columns are.
        rows: The cells of each row, as Markdown.
        words: Columns that are text; those after them are numbers, which stand at the right.

    Returns:
        The table.
    """
    rules = [*["---"] * words, *["---:"] * (len(header) - words)]
    return "\n".join(f"| {' | '.join(tasks)} |" for tasks in (header, rules, *rows))


def accuracy(entry: "EntryResult") -> str:
    """Write the accuracy of an entry.

    Args:
        entry: Its numbers, of one network at least.

    Returns:
        Mean±standard deviation in percent; a single network has no deviation.
    """
    return f"{100 * entry.mean:.1f}" + (f"±{100 * entry.std:.1f}" if entry.n > 1 else "")


def points(difference: float) -> str:
    """Write a difference of accuracies.

    Args:
        difference: Of accuracies from 0 to 1.

    Returns:
        Percentage points with their sign; zero is +0.00.
    """
    return f"{round(100 * difference, 2) + 0.0:+.2f}"
