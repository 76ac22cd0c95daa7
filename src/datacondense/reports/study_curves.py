"""The table of a study as curves along columns that are numbers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from math import inf, isfinite, log10, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from datacondense.errors import InputError
from datacondense.reports.plotting import (
    FONT,
    TITLE,
    bare,
    drawable,
    new_figure,
    row_style,
    text_width,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from datacondense.studies.results import EntryResult, StudyResult
    from datacondense.studies.study import Study

# Inches.
_PANEL = (4.2, 3.2)
_PANEL_GAP = 0.85
_LEGEND = 2.2

_CLOSEST_COLUMNS = 0.05  # of the axis, before it is logarithmic
_WIDEST_COLUMNS = 20  # last to first, before the axis is logarithmic
_MARGIN = 0.05  # on both sides of the columns, of what they span
_SMALLEST_SPAN = 5.0  # percent that intervals may add above and below the means

_BAND: Any = {"alpha": 0.18, "linewidth": 0}
_PUBLISHED: Any = {"linestyle": "--", "linewidth": 1.1, "markersize": 4.5, "markerfacecolor": "white"}


def curves(result: "StudyResult") -> "Figure":
    """Draw one line per row along the columns, and the same relative to the whole data set.

    Bands are 95 % intervals of the means; published values are dashed.

    Args:
        result: The study and its numbers; what is missing leaves a gap.

    Returns:
        The picture.

    Raises:
        InputError: A column is no number.
    """
    study = result.study
    values = _column_values(study)
    figure, axes = new_figure(_PANEL)
    _plot_lines(axes, result, values, 1.0)
    _plot_published(axes, study, values)
    panels = [(axes, "accuracy, %")]
    if result.full is not None and result.full.n and result.full.mean:
        place = (1 + _PANEL_GAP / _PANEL[0], 0, 1, 1)
        panels.append((figure.add_axes(place), "relative to the whole data set, %"))
        _plot_lines(panels[1][0], result, values, 1 / result.full.mean)
    for panel, unit in panels:
        _finish_panel(panel, study, values, unit)
    _add_legend(panels[-1][0], result)
    width = _PANEL[0] if len(panels) == 1 else 2 * _PANEL[0] + _PANEL_GAP
    title = wrapped(drawable(study.title), width, TITLE)
    figure.text(width / _PANEL[0] / 2, 1 + 0.12 / _PANEL[1], title, fontsize=TITLE, ha="center", va="bottom")
    return figure


def _column_values(study: "Study") -> dict[str, float]:
    """Read the labels of the columns as numbers, and give them in rising order."""
    values = {}
    for label in study.columns:
        try:
            values[label] = float(label)
        except ValueError:
            values[label] = nan
        if not isfinite(values[label]):
            raise InputError(
                f"The column {label!r} of {study.name} is no number, but curves are drawn along numbers: choose the "
                "plot 'heat map'."
            )
    return dict(sorted(values.items(), key=lambda item: item[1]))


def _plot_lines(axes: "Axes", result: "StudyResult", values: dict[str, float], factor: float) -> None:
    """Draw means and their intervals, of all rows, in percent of something; what is missing leaves a gap."""
    known = result.known
    places = list(values.values())
    for index, row in enumerate(result.study.rows):
        entries = [known.get((row, column)) for column in values]
        means = [nan if entry is None else 100 * factor * entry.mean for entry in entries]
        low, high = zip(*(_band(entry, factor) for entry in entries), strict=True)
        style = row_style(index)
        axes.fill_between(places, low, high, color=style["color"], **_BAND)
        for at in _alone(low):  # a band has no width there
            axes.vlines(places[at], low[at], high[at], **_BAND | {"color": style["color"], "linewidth": 5})
        axes.plot(places, means, markersize=4.5, linewidth=1.4, **style)
    if not known:
        axes.set_ylim(0, 100)


def _band(entry: "EntryResult | None", factor: float) -> tuple[float, float]:
    """Give the interval of a mean in percent of something, as far as accuracies go; a single number has none."""
    if entry is None or not isfinite(entry.interval[0]):
        return nan, nan
    low, high = entry.interval
    return 100 * factor * max(low, 0.0), 100 * factor * min(high, 1.0)


def _alone(values: Sequence[float]) -> list[int]:
    """Find the numbers that have gaps, or nothing, on both sides."""
    padded = [nan, *values, nan]
    triples = zip(padded, values, padded[2:], strict=False)
    return [
        index for index, triple in enumerate(triples) if list(map(isfinite, triple)) == [False, True, False]
    ]


def _plot_published(axes: "Axes", study: "Study", values: dict[str, float]) -> None:
    """Draw published means, dashed and with hollow markers."""
    for index, row in enumerate(study.rows):
        found = {
            value: study.published[row, label].mean
            for label, value in values.items()
            if (row, label) in study.published
        }
        axes.plot(list(found), list(found.values()), **_PUBLISHED, **row_style(index))


def _finish_panel(axes: "Axes", study: "Study", values: dict[str, float], unit: str) -> None:
    """Label a panel, and mark its columns."""
    _mark_columns(axes, values)
    _limit_heights(axes)
    axes.set_xlabel(wrapped(drawable(study.column_axis), _PANEL[0], FONT), fontsize=FONT)
    axes.set_ylabel(unit, fontsize=FONT)
    bare(axes)


def _limit_heights(axes: "Axes") -> None:
    """Show all points, and of intervals no more than leaves the points far enough apart to be told."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    heights = heights[np.isfinite(heights)]
    if heights.size:
        span = max(float(np.ptp(heights)), _SMALLEST_SPAN)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, heights.min() - span), min(top, heights.max() + span))


def _mark_columns(axes: "Axes", values: dict[str, float]) -> None:
    """Mark the columns along the axis, logarithmic where they span much or lie close; no label touches another."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

    numbers = list(values.values())
    closest = min((after - before for before, after in pairwise(numbers)), default=inf)
    wide = numbers[-1] > _WIDEST_COLUMNS * numbers[0] or closest < _CLOSEST_COLUMNS * (
        numbers[-1] - numbers[0]
    )
    logarithmic = numbers[0] > 0 and wide
    if logarithmic:
        axes.set_xscale("log")
    places = [log10(number) for number in numbers] if logarithmic else numbers
    kept = _apart(values, places)
    axes.set_xticks([values[label] for label in kept], [drawable(label) for label in kept])
    axes.xaxis.set_minor_locator(NullLocator())
    margin = _MARGIN * (places[-1] - places[0]) or 1
    ends = (places[0] - margin, places[-1] + margin)
    axes.set_xlim(*((10**end for end in ends) if logarithmic else ends))


def _apart(labels: Iterable[str], places: Sequence[float]) -> list[str]:
    """Leave out labels that would touch the one before."""
    inches = _PANEL[0] / (1 + 2 * _MARGIN) / ((places[-1] - places[0]) or 1)
    kept, end = [], -inf
    for label, place in zip(labels, places, strict=True):
        half = text_width(drawable(label), FONT) / 2 + 0.03
        if inches * place - half > end:
            kept.append(label)
            end = inches * place + half
    return kept


def _add_legend(axes: "Axes", result: "StudyResult") -> None:
    """Name the rows, and what else is drawn, at the right of the panel."""
    from matplotlib.artist import Artist  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    study = result.study
    handles: list[Artist] = [
        Line2D([], [], markersize=4.5, **row_style(index)) for index in range(len(study.rows))
    ]
    labels = [wrapped(drawable(row), _LEGEND, FONT) for row in study.rows]
    if any(place in study.published for place in product(study.rows, study.columns)):
        handles.append(Line2D([], [], color="#555555", marker="o", **_PUBLISHED))
        labels.append("published")
    banded = [entry for entry in result.known.values() if isfinite(entry.interval[0])]
    if banded:
        alone = any(entry.sets == 1 for entry in banded)
        handles.append(Patch(color="#555555", **_BAND))
        labels.append(
            "95 % interval of the mean" + ("\n(of a single set: over its networks)" if alone else "")
        )
    axes.legend(
        handles,
        # Labels that begin with an underscore would be left out.
        [f" {label}" if label.startswith("_") else label for label in labels],
        title=wrapped(drawable(study.row_axis), _LEGEND, FONT),
        title_fontsize=FONT,
        fontsize=FONT,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        alignment="left",
    )
