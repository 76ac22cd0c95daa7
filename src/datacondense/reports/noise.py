"""The numbers of a gradient noise measurement as a Markdown page and a CSV table."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from datacondense.files import write_text
from datacondense.matching.decomposition import Component, Decomposition
from datacondense.reports.environments import environments_part
from datacondense.reports.layout import NOTHING, plain, table
from datacondense.studies.noise_running import PARTS, NoiseEntry, NoiseResult, Variant

_TITLE = "What the matching gradient is made of"
_COLUMNS = ("network", "transform", "class", "part", "squared_length", "share", "low", "high")
_MODEL = (
    "The gradient y of the matching loss with respect to the pixels was computed for R random networks and D real "
    "batches, each network on each batch, and is modelled as y[r, d] = μ + a[r] + b[d] + e[r, d], with random effects "
    "of the network, of the batch and of both together. Its expected squared length E|y|² is then the sum of four "
    "parts: |μ|², which all networks and batches have in common (data), E|a|² (network), E|b|² (batch) and E|e|² "
    "(interaction)."
)
_READING = (
    "Entries are shares of E|y|² in %, with 95 % intervals in brackets. The share of the data is also the expected "
    "agreement of two networks on two batches, E⟨y, y'⟩ / E|y|². The estimates are unbiased, so those of small parts "
    "can fall below zero by chance, and intervals can extend beyond 0 and 100."
)


def write_noise(result: NoiseResult, facts: Mapping[str, str], folder: Path | str, stem: str) -> list[Path]:
    """Write page, table and plot of a measurement, each atomically; the page shows the plot.

    Args:
        result: The numbers.
        facts: As in `noise_markdown`.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.

    Returns:
        The paths of the page (.md), the table (.csv) and the plot (.png).

    Raises:
        InputError: The folder cannot be written.
    """
    from datacondense.reports.noise_plot import plot_noise  # noqa: PLC0415 — loads matplotlib

    page, numbers, plot = (Path(folder) / f"{stem}.{suffix}" for suffix in ("md", "csv", "png"))
    plot_noise(result, plot)
    write_text(numbers, noise_csv_text(result))
    write_text(page, noise_markdown(result, facts, picture=quote(plot.name)))
    return [page, numbers, plot]


def noise_markdown(
    result: NoiseResult, facts: Mapping[str, str], *, picture: str | None = None, by_class: bool = True
) -> str:
    """Return a measurement as a Markdown page; the same numbers give the same page.

    Args:
        result: The numbers.
        facts: What comes first, such as data set, networks and command: name and value, as plain text.
        picture: Link to a plot of the numbers.
        by_class: Whether to write the shares of each class too.

    Returns:
        The page: facts, the model, the shares for all classes together and for each class, and the environments in
        which they were computed.
    """
    parts = [
        f"# {_TITLE}",
        "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts.items()),
        f"![{_TITLE}]({picture})" if picture else "",
        _MODEL,
        _all_classes_table(result),
        _READING + _missing(result),
        *(_classes_part(variant, entry) for variant, entry in _finished(result) if by_class),
        environments_part(result.environments),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def noise_csv_text(result: NoiseResult) -> str:
    """Return a measurement as CSV, four lines for each gradient; unknown values are empty.

    Args:
        result: The numbers.

    Returns:
        A line of column names, then the numbers. `class` is empty for all classes together; `share` and the ends of its
        95 % interval, `low` and `high`, are in percent.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for variant in result.rows:
        entry = result.entries.get(variant)
        found = [("", None if entry is None else entry.all_classes), *(entry.classes if entry else ())]
        for name, decomposition in found:
            for part in PARTS:
                writer.writerow([*variant, name, part, *_csv_numbers(decomposition, part)])
    return text.getvalue()


def _finished(result: NoiseResult) -> Iterator[tuple[Variant, NoiseEntry]]:
    """Iterate over the finished entries, row by row."""
    return ((variant, result.entries[variant]) for variant in result.rows if variant in result.entries)


def _csv_numbers(decomposition: Decomposition | None, part: str) -> list[str]:
    """Return the numbers of a part from `squared_length` to `high`."""
    if decomposition is None:
        return [""] * 4
    found: Component = getattr(decomposition, part)
    percents = [f"{100 * value:.6f}" for value in (found.share, *(found.interval or ()))]
    return [f"{found.squared_length:.9g}", *percents, *[""] * (3 - len(percents))]


def _all_classes_table(result: NoiseResult) -> str:
    """Return the table of the shares for all classes together."""

    def row(variant: Variant) -> list[str]:
        entry = result.entries.get(variant)
        return [*map(plain, variant), *_shares(None if entry is None else entry.all_classes)]

    return table(["architecture", "transform", *PARTS], map(row, result.rows), words=2)


def _classes_part(pair: Variant, entry: NoiseEntry) -> str:
    """Return the part with the shares for each class."""
    network, variant = map(plain, pair)
    rows: Iterable[list[str]] = ([plain(name), *_shares(found)] for name, found in entry.classes)
    return f"## {network}, {variant}: by class\n\n{table(['class', *PARTS], rows)}"


def _shares(decomposition: Decomposition | None) -> list[str]:
    """Return the four shares as texts."""
    if decomposition is None:
        return [NOTHING] * len(PARTS)
    return [_share(getattr(decomposition, part)) for part in PARTS]


def _share(part: Component) -> str:
    """Return a share in percent as text, with its interval if it has one."""
    interval = "" if part.interval is None else " ({} to {})".format(*map(_percent, part.interval))
    return _percent(part.share) + interval


def _percent(share: float) -> str:
    """Return a share in percent as text; zero has no sign."""
    return f"{round(100 * share, 1) + 0.0:.1f}"


def _missing(result: NoiseResult) -> str:
    """Explain missing numbers."""
    found = [entry for _, entry in _finished(result)]
    gradients = [one for entry in found for one in (entry.all_classes, *(one for _, one in entry.classes))]
    known = [one for one in gradients if one is not None]
    sentences = [
        "Intervals need at least three networks and three batches."
        if known and all(one.data.interval is None for one in known)
        else "",
        f"{NOTHING} means failed or not yet run." if len(found) < len(result.rows) else "",
        f"{NOTHING} in a finished row means that the transform sets the gradient to zero."
        if None in gradients
        else "",
    ]
    return "".join(f" {sentence}" for sentence in sentences if sentence)
