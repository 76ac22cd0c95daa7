"""The table of a study as curves over columns that are numbers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from math import inf, isfinite, log10, nan
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

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
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Study

# Inches.
_PANEL = (4.2, 3.2)
_PANEL_GAP = 0.85
_LEGEND = 2.2

_CLOSEST_COLUMNS = 0.05  # of the axis; closer ones make it logarithmic
_WIDEST_COLUMNS = 20  # ratio of last to first; a larger one makes the axis logarithmic
_MARGIN = 0.05  # of the axis, on both sides
_SMALLEST_SPAN = 5.0  # percent; intervals may extend at least this far beyond the means

_BAND: Any = {"alpha": 0.18, "linewidth": 0}
_PUBLISHED: Any = {"linestyle": "--", "linewidth": 1.1, "markersize": 4.5, "markerfacecolor": "white"}


def curves(result: StudyResult) -> Figure:
    """Plot one line per row over the columns, and the same relative to the full data set.

    Bands are 95 % intervals of the means; published values are dashed.

    Args:
        result: The study and its numbers; missing ones leave a gap.

    Returns:
        The figure.

    Raises:
        InputError: A column is not a number.
    """
    study = result.study
    values = _column_values(study)
    figure, axes = new_figure(_PANEL)
    _plot_lines(axes, result, values, 1.0)
    _plot_published(axes, study, values)
    panels = [(axes, "accuracy, %")]
    if result.full is not None and result.full.n and result.full.mean:
        beside = (1 + _PANEL_GAP / _PANEL[0], 0, 1, 1)
        panels.append((figure.add_axes(beside), "relative to the full data set, %"))
        _plot_lines(panels[1][0], result, values, 1 / result.full.mean)
    for panel, unit in panels:
        _finish_panel(panel, study, values, unit)
    _add_legend(panels[-1][0], result)
    width = _PANEL[0] if len(panels) == 1 else 2 * _PANEL[0] + _PANEL_GAP
    title = wrapped(drawable(study.title), width, TITLE)
    figure.text(width / _PANEL[0] / 2, 1 + 0.12 / _PANEL[1], title, fontsize=TITLE, ha="center", va="bottom")
    return figure


def _column_values(study: Study) -> dict[str, float]:
    """Return the labels of the columns with their numbers, in ascending order."""
    values = {}
    for label in study.columns:
        try:
            values[label] = float(label)
        except ValueError:
            values[label] = nan
        if not isfinite(values[label]):
            raise InputError(
                f"The column {label!r} of {study.name} is not a number, but curves need numbers: choose the plot 'heat "
                "map'."
            )
    return dict(sorted(values.items(), key=lambda item: item[1]))


def _plot_lines(axes: Axes, result: StudyResult, values: dict[str, float], factor: float) -> None:
    """Plot means and intervals of all rows, times a factor, in percent; missing ones leave a gap."""
    known = result.known
    numbers = list(values.values())
    for index, row in enumerate(result.study.rows):
        entries = [known.get((row, column)) for column in values]
        means = [nan if entry is None else 100 * factor * entry.mean for entry in entries]
        low, high = zip(*(_band(entry, factor) for entry in entries), strict=True)
        style = row_style(index)
        axes.fill_between(numbers, low, high, color=style["color"], **_BAND)
        for index_alone in _alone(low):  # where a band has no width
            axes.vlines(
                numbers[index_alone],
                low[index_alone],
                high[index_alone],
                **_BAND | {"color": style["color"], "linewidth": 5},
            )
        axes.plot(numbers, means, markersize=4.5, linewidth=1.4, **style)
    if not known:
        axes.set_ylim(0, 100)


def _band(entry: EntryResult | None, factor: float) -> tuple[float, float]:
    """Return the interval of a mean, times a factor, in percent, cut to the range of accuracies; nan without one."""
    if entry is None or not isfinite(entry.interval[0]):
        return nan, nan
    low, high = entry.interval
    return 100 * factor * max(low, 0.0), 100 * factor * min(high, 1.0)


def _alone(values: Sequence[float]) -> list[int]:
    """Return the indices of numbers without a neighbour."""
    padded = [nan, *values, nan]
    triples = zip(padded, values, padded[2:], strict=False)
    return [
        index for index, triple in enumerate(triples) if list(map(isfinite, triple)) == [False, True, False]
    ]


def _plot_published(axes: Axes, study: Study, values: dict[str, float]) -> None:
    """Plot published means, dashed and with hollow markers."""
    for index, row in enumerate(study.rows):
        found = {
            value: study.published[row, label].mean
            for label, value in values.items()
            if (row, label) in study.published
        }
        axes.plot(list(found), list(found.values()), **_PUBLISHED, **row_style(index))


def _finish_panel(axes: Axes, study: Study, values: dict[str, float], unit: str) -> None:
    """Label a panel, and mark its columns."""
    _mark_columns(axes, values)
    _limit_heights(axes)
    axes.set_xlabel(wrapped(drawable(study.column_axis), _PANEL[0], FONT), fontsize=FONT)
    axes.set_ylabel(unit, fontsize=FONT)
    bare(axes)


def _limit_heights(axes: Axes) -> None:
    """Limit the axis so that wide intervals do not squeeze the points together."""
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    heights = heights[np.isfinite(heights)]
    if heights.size:
        span = max(float(np.ptp(heights)), _SMALLEST_SPAN)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, heights.min() - span), min(top, heights.max() + span))


def _mark_columns(axes: Axes, values: dict[str, float]) -> None:
    """Mark the columns on the axis, which is logarithmic if they span much or lie close; labels do not touch."""
    numbers = list(values.values())
    closest = min((after - before for before, after in pairwise(numbers)), default=inf)
    wide = numbers[-1] > _WIDEST_COLUMNS * numbers[0] or closest < _CLOSEST_COLUMNS * (
        numbers[-1] - numbers[0]
    )
    logarithmic = numbers[0] > 0 and wide
    if logarithmic:
        axes.set_xscale("log")
    positions = [log10(number) for number in numbers] if logarithmic else numbers
    kept = _apart(values, positions)
    axes.set_xticks([values[label] for label in kept], [drawable(label) for label in kept])
    axes.xaxis.set_minor_locator(NullLocator())
    margin = _MARGIN * (positions[-1] - positions[0]) or 1
    ends = (positions[0] - margin, positions[-1] + margin)
    axes.set_xlim(*((10**end for end in ends) if logarithmic else ends))


def _apart(labels: Iterable[str], positions: Sequence[float]) -> list[str]:
    """Return the labels without those that would touch the one before."""
    inches = _PANEL[0] / (1 + 2 * _MARGIN) / ((positions[-1] - positions[0]) or 1)
    kept, end = [], -inf
    for label, position in zip(labels, positions, strict=True):
        half = text_width(drawable(label), FONT) / 2 + 0.03
        if inches * position - half > end:
            kept.append(label)
            end = inches * position + half
    return kept


def _add_legend(axes: Axes, result: StudyResult) -> None:
    """Add the legend at the right of the panel."""
    study = result.study
    handles: list[Artist] = [
        Line2D([], [], markersize=4.5, **row_style(index)) for index in range(len(study.rows))
    ]
    labels = [wrapped(drawable(row), _LEGEND, FONT) for row in study.rows]
    if any(entry in study.published for entry in product(study.rows, study.columns)):
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
        # matplotlib leaves out labels that begin with an underscore.
        [f" {label}" if label.startswith("_") else label for label in labels],
        title=wrapped(drawable(study.row_axis), _LEGEND, FONT),
        title_fontsize=FONT,
        fontsize=FONT,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        alignment="left",
    )
