"""The numbers of a gradient noise measurement as a Markdown page and a CSV table."""

from collections.abc import Mapping
from functools import partial
from math import nan
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from datacondense.reports import layout as md
from datacondense.reports.layout import NOTHING, number, plain
from datacondense.studies.noise import PARTS, NoiseResult, Variant

Gradient: TypeAlias = Mapping[str, Mapping[str, Any]]  # the line of the frame of each part

_NUMBERS = ("squared_length", "share", "low", "high")
_UNKNOWN: Any = [("", dict.fromkeys(PARTS, dict.fromkeys(_NUMBERS, nan)))]
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
        facts: What the page begins with, such as data set, networks and command: name and value, as plain text.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.

    Returns:
        The paths of the page (.md), the table (.csv) and the plot (.png).

    Raises:
        InputError: The folder cannot be written.
    """
    from datacondense.reports.noise_plot import plot_noise  # noqa: PLC0415 — loads matplotlib

    page = partial(noise_markdown, result, facts)
    return md.write_files(folder, stem, partial(plot_noise, result), noise_csv_text(result), page)


def noise_markdown(
    result: NoiseResult, facts: Mapping[str, str], *, picture: str | None = None, by_class: bool = True
) -> str:
    """Return a measurement as a Markdown page, by class or for all classes only; equal numbers give equal pages."""
    found = gradients(result)
    parts = [
        _MODEL,
        md.table(
            ["architecture", "transform", *PARTS],
            ([*map(plain, pair), *_shares(found.get(pair, _UNKNOWN)[0][1])] for pair in result.rows),
            words=2,
        ),
        md.joined([_READING, *_missing(result)], " "),
        *(
            f"## {plain(network)}, {plain(variant)}: by class\n\n"
            + md.table(["class", *PARTS], ([plain(name), *_shares(gradient)] for name, gradient in classes))
            for (network, variant), (_, *classes) in found.items()
            if by_class
        ),
        md.environments_part(result.environments),
    ]
    return md.page_of(md.NOISE_HEADING, facts, picture, parts)


def noise_csv_text(result: NoiseResult) -> str:
    """Return a measurement as CSV, four lines for each gradient, shares in percent; unknown values are empty."""
    found = gradients(result)
    lines = [
        [*pair, name, part, *_texts(gradient[part])]
        for pair in result.rows
        for name, gradient in found.get(pair, _UNKNOWN)
        for part in PARTS
    ]
    frame = pd.DataFrame(lines, columns=["network", "transform", "class", "part", *_NUMBERS])
    return str(frame.to_csv(index=False, lineterminator="\n"))


def gradients(result: NoiseResult) -> dict[Variant, list[tuple[str, Gradient]]]:
    """Return the finished gradients, row by row: class and parts, all classes ("") first; NaN if it is zero."""
    found: dict[Variant, list[tuple[str, dict[str, Any]]]] = {}
    for line in result.frame.to_dict("records"):
        own = found.setdefault((line["network"], line["variant"]), [])
        if line["part"] == PARTS[0]:
            own.append((line["class"], {}))
        own[-1][1][line["part"]] = line
    return {pair: [*found[pair]] for pair in result.rows if pair in found}


def _texts(found: Mapping[str, Any]) -> list[str]:
    """Return squared length, and share and interval in percent, as texts."""
    percents = [number(100 * found[name], ".6f") for name in _NUMBERS[1:]]
    return [number(found["squared_length"], ".9g"), *percents]


def _shares(gradient: Gradient) -> list[str]:
    """Return the shares in percent as texts, with the intervals that they have."""
    percents = ([_percent(gradient[part][name]) for name in _NUMBERS[1:]] for part in PARTS)
    return [(share or NOTHING) + (f" ({low} to {high})" if low else "") for share, low, high in percents]


def _percent(share: float) -> str:
    """Return a share in percent as text; zero has no sign."""
    return number(round(100 * share, 1) + 0.0, ".1f")


def _missing(result: NoiseResult) -> list[str]:
    """Return sentences on missing numbers."""
    shares, intervals = (result.frame[name].notna() for name in ("share", "low"))
    finished = result.frame[["network", "variant"]].drop_duplicates()
    few = shares.any() and not intervals.any()
    return [
        "Intervals need at least three networks and three batches." * bool(few),
        f"{NOTHING} means failed or not yet run." * (len(finished) < len(result.rows)),
        f"{NOTHING} in a finished row means that the transform sets the gradient to zero."
        * (not shares.all()),
    ]
