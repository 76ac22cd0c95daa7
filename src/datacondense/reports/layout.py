"""Markdown of result pages: escaped text, tables, and numbers as they are printed."""

import re
from collections.abc import Iterable, Sequence

from datacondense.studies.differences import EntryResult

NOTHING = "–"


def plain(text: str) -> str:
    """Return text on one line, with the characters of Markdown escaped.

    Args:
        text: Any text.

    Returns:
        The line.
    """
    line = " ".join(str(text).split())
    # An underscore inside a word is no emphasis, and names with escapes are hard to read and to search for.
    return re.sub(r"[\\`*\[\]<|~$&]|(?<!\w)_|_(?!\w)|^#", r"\\\g<0>", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Return a table.

    Args:
        header: Titles of the columns.
        rows: The texts of each row, as Markdown.
        words: How many columns are text; the others are numbers, aligned right.

    Returns:
        The table.
    """
    rules = [*["---"] * words, *["---:"] * (len(header) - words)]
    return "\n".join(f"| {' | '.join(texts)} |" for texts in (header, rules, *rows))


def accuracy(entry: EntryResult) -> str:
    """Return the accuracy of an entry as text.

    Args:
        entry: Its numbers, of at least one network.

    Returns:
        Mean±standard deviation in percent; a single network has no deviation.
    """
    return f"{100 * entry.mean:.1f}" + (f"±{100 * entry.std:.1f}" if entry.n > 1 else "")


def points(difference: float) -> str:
    """Return a difference of accuracies as text.

    Args:
        difference: A difference of accuracies from 0 to 1.

    Returns:
        Percentage points with their sign; zero is +0.00.
    """
    return f"{round(100 * difference, 2) + 0.0:+.2f}"
