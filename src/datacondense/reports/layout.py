"""Markdown of result pages: escaped text, tables, numbers as they are printed, and the environments at the end."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

from datacondense.files import remove_leftovers, write_text

NOTHING = "–"
NOISE_HEADING = "What the matching gradient is made of"

_ENVIRONMENT = ("engine", "precision", "threads", "torch", "device", "datacondense")  # listed first
_MIXED = {
    "precision": "precisions",
    "threads": "numbers of threads",
    "torch": "versions of torch",
    "device": "devices",
    "datacondense": "versions of datacondense",
}


def write_files(
    folder: Path | str, stem: str, plot: Callable[[Path], None], numbers: str, page: Callable[..., str]
) -> list[Path]:
    """Write page, table and plot, each atomically, and return their paths; `page` takes a link to the plot."""
    files = [Path(folder) / f"{stem}.{suffix}" for suffix in ("md", "csv", "png")]
    plot(files[2])  # first: what cannot be plotted leaves nothing behind
    write_text(files[1], numbers)
    write_text(files[0], page(picture=quote(files[2].name)))
    remove_leftovers(Path(folder), *(file.name for file in files))
    return files


def page_of(title: str, facts: Mapping[str, str], picture: str | None, parts: Iterable[str]) -> str:
    """Return a page: title, facts, the picture if there is one, and all parts that are not empty."""
    listed = "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts.items())
    shown = f"![{plain(title)}]({picture})" if picture else ""
    return joined([f"# {plain(title)}", listed, shown, *parts]) + "\n"


def joined(parts: Iterable[str], between: str = "\n\n") -> str:
    """Return the parts that are not empty, joined."""
    return between.join(part for part in parts if part)


def plain(text: str) -> str:
    """Return text on one line, with the characters of Markdown escaped."""
    line = " ".join(str(text).split())
    # An underscore inside a word is no emphasis, and names with escapes are hard to read and to search for.
    return re.sub(r"[\\`*\[\]<|~$&]|(?<!\w)_|_(?!\w)|^#", r"\\\g<0>", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Return a table of Markdown texts; its first columns, `words` of them, are text, all others are numbers."""
    rules = [*["---"] * words, *["---:"] * (len(header) - words)]
    return "\n".join(f"| {' | '.join(texts)} |" for texts in (header, rules, *rows))


def number(value: float | None, form: str, missing: str = "") -> str:
    """Return a number as text, and an unknown one as `missing`."""
    return missing if value is None or isnan(value) else format(value, form)


def accuracy(mean: float, std: float | None) -> str:
    """Return mean±standard deviation, both in percent; a single network has no deviation."""
    deviation = number(std, ".1f")
    return number(mean, ".1f", NOTHING) + (f"±{deviation}" if deviation else "")


def points(difference: float) -> str:
    """Return a difference of accuracies from 0 to 1 as percentage points with their sign; zero is +0.00."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def duration(seconds: float) -> str:
    """Return a duration in words."""
    full = round(seconds)
    if full < 60:
        return f"{full} s"
    if full < 3600:
        return f"{full // 60} min {full % 60:02d} s"
    return f"{full // 3600} h {full % 3600 // 60:02d} min"


def environments_part(environments: Sequence[Mapping[str, Any]]) -> str:
    """Return the list of environments, with a warning if they differ in what numbers depend on."""
    lines = set()
    for each in environments:
        names = [name for name in _ENVIRONMENT if name in each]
        names += sorted(set(each) - set(names))
        lines.add("- " + plain(", ".join(f"{name} {each[name]}" for name in names)))
    mixed = [
        words for name, words in _MIXED.items() if len({str(each.get(name)) for each in environments}) > 1
    ]
    warning = (
        f"**The table mixes different {' and '.join(mixed)}**, which may cause differences between entries."
    )
    return joined(["## Environments", "\n".join(sorted(lines)), warning * bool(mixed)]) if lines else ""
