"""The numbers of an architecture search as a Markdown page and a CSV table."""

from collections.abc import Mapping
from functools import partial
from math import isnan
from pathlib import Path

from datacondense.applications.rank_correlation import Correlation, ProxyNumbers, proxy_numbers
from datacondense.applications.search_result import REFERENCE, SearchResult
from datacondense.reports import layout as md
from datacondense.reports.layout import NOTHING, number, plain

HEADING = "Which architecture a small set picks"
_HEADER = (
    *("trained on", "picks", "accuracy", "own accuracy"),
    *("Spearman, top 10", "Spearman, top half", "Spearman, all", "Kendall's τ, all"),
    *("architectures", "minutes", "images"),
)
_READING = (
    "Each line picks the architecture with the highest accuracy on held-out training images. The accuracy is that of "
    "the picked architecture on the test images after training on the full set, as the reference is trained; its own "
    "accuracy is that after training on the line's images; both in %. Correlations compare the held-out accuracies of "
    "architectures with those of the reference, over those that the reference ranks highest or over all, with 95 % "
    "bootstrap intervals over architectures. Minutes add up the training of all architectures, without the making of "
    "the set."
)


def write_search(result: SearchResult, facts: Mapping[str, str], folder: Path | str, stem: str) -> list[Path]:
    """Write page, table and plot of a search, each atomically; the page shows the plot.

    Args:
        result: The numbers.
        facts: What the page begins with, such as data set, protocol and command: name and value, as plain text.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.

    Returns:
        The paths of the page (.md), the table (.csv) and the plot (.png).

    Raises:
        InputError: The folder cannot be written.
    """
    from datacondense.reports.search_plot import plot_search  # noqa: PLC0415 — loads matplotlib

    page = partial(search_markdown, result, facts)
    return md.write_files(folder, stem, partial(plot_search, result), search_csv_text(result), page)


def search_markdown(result: SearchResult, facts: Mapping[str, str], *, picture: str | None = None) -> str:
    """Return a search as a Markdown page; equal numbers give equal pages."""
    numbers = proxy_numbers(result)
    parts = [
        md.table(_HEADER, map(_line, numbers), words=2),
        md.joined([_READING, *_missing(result, numbers)], " "),
        md.environments_part(result.environments),
    ]
    return md.page_of(HEADING, facts, picture, parts)


def search_csv_text(result: SearchResult) -> str:
    """Return a line for each proxy and architecture as CSV, without seconds, accuracies in percent."""
    frame = result.frame.drop(columns="seconds")
    frame[["held_out", "test"]] *= 100
    return str(frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def _line(found: ProxyNumbers) -> list[str]:
    is_reference = found.proxy == REFERENCE
    correlations = (found.top, found.half, found.all, found.tau)
    return [
        plain(found.proxy),
        plain(found.network) or NOTHING,
        *(number(100 * value, ".1f", NOTHING) for value in (found.accuracy, found.on_proxy)),
        *(number(each.value, ".2f", NOTHING) if is_reference else _interval(each) for each in correlations),
        str(found.tried),
        number(found.seconds / 60, ".1f", NOTHING),
        number(found.images, ".0f", NOTHING),
    ]


def _interval(found: Correlation) -> str:
    """Return a correlation with its interval."""
    if isnan(found.value):
        return NOTHING
    ends = "" if isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.value:.2f}{ends}"


def _missing(result: SearchResult, numbers: list[ProxyNumbers]) -> list[str]:
    """Return sentences on architectures without numbers."""
    without = [f"{plain(each.proxy)}: {each.missing}" for each in numbers if each.missing]
    diverged = int((result.frame["held_out"] == 0).sum())
    return [
        f"Architectures without a number, of {len(result.networks)}: {', '.join(without)}." * bool(without),
        f"Training diverged {diverged} times, which counts as an accuracy of 0." * bool(diverged),
    ]
