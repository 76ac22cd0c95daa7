"""Plots of studies: a heat map of the table, curves over columns that are numbers, or paired differences."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from datacondense.errors import InputError
from datacondense.reports import plotting
from datacondense.reports.plotting import COLOURS, FONT, GREY, LABEL, LETTER, SMALL, TITLE, text_size, wrapped
from datacondense.reports.study_curves import curves
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Study

# Heat maps, in inches.
_SQUARE = (0.86, 0.58)
_WIDEST_SQUARE = 1.5
_NARROWEST_SQUARE = 0.6
_WIDEST_TABLE = 9.0
_SHORTEST_BAR = 1.5

# Differences.
_PANEL_WIDTH = 2.5  # inches
_BESIDE = 0.7  # inches, for the numbers of a panel's points
_PANELS_BESIDE = 3
_LINEAR = 10.0  # points on both sides of zero; beyond, the axis is logarithmic
_STYLES: Mapping[str, Any] = {
    "gain": {"color": COLOURS[0], "marker": "o"},
    "undecided": {"color": GREY, "marker": "o", "markerfacecolor": "white"},
    "loss": {"color": COLOURS[1], "marker": "s"},
    "single set": {"color": GREY, "marker": "D", "markerfacecolor": "white", "linestyle": ""},
}


def plot_study(result: StudyResult, path: Path | str) -> None:
    """Plot a study as a PNG file; the same numbers give the same bytes with the same matplotlib."""
    plotting.save_png(PLOTS[result.study.plot](result), path)


def heat_map(result: StudyResult) -> Figure:
    """Return squares coloured by mean accuracy, with ± one standard deviation; those without numbers are hatched."""
    study = result.study
    rows = [wrapped(row, LABEL) for row in study.rows]
    width, columns, turned = _columns(study.columns)
    beside, line_height = text_size(*rows)
    size = len(columns) * width, len(rows) * max(_SQUARE[1], line_height + 0.1)
    title = wrapped(study.heading, max(size[0] + beside, 3.5), TITLE)
    across, down = wrapped(study.column_axis, max(size[0], 3)), wrapped(study.row_axis, max(size[1], 1))
    above = text_size(*columns)[0 if turned else 1] + 1.3 * text_size(title)[1] + text_size(across)[1]
    figure = plotting.new_figure(size[0] + beside + text_size(down)[1] + 0.8, size[1] + above + 0.5)
    axes = figure.subplots()
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=FONT)
    axes.set_xlabel(across, fontsize=FONT, labelpad=6)
    axes.set_ylabel(down, fontsize=FONT, labelpad=6)
    axes.spines[:].set_visible(False)
    axes.patch.set(facecolor="#eeeeee", edgecolor="#bbbbbb", hatch="////", linewidth=0)
    figure.suptitle(title, fontsize=TITLE)
    _fill(axes, result, "right" if size[1] >= _SHORTEST_BAR else "bottom")
    return figure


def _columns(labels: Sequence[str]) -> tuple[float, list[str], bool]:
    """Return the width of columns, their labels, and whether these are turned because they would be too wide."""
    widest = max(_NARROWEST_SQUARE, min(_WIDEST_SQUARE, _WIDEST_TABLE / len(labels)))
    needed = LETTER * max(len(word) for label in labels for word in [*label.split(), ""]) + 0.12
    width = min(widest, max(_SQUARE[0], needed))
    lines = [wrapped(label, width - 0.12) for label in labels]
    if needed <= width and all(label.count("\n") < 3 for label in lines):
        return width, lines, False
    lines = [wrapped(label, LABEL) for label in labels]
    return max(min(widest, _SQUARE[0]), text_size(*lines)[1] + 0.1), lines, True


def _fill(axes: Axes, result: StudyResult, bar_side: str) -> None:
    """Colour the squares, write mean and standard deviation, and add the colour bar."""
    study, figure = result.study, axes.figure
    entries = pd.MultiIndex.from_product([study.rows, study.columns])
    numbers = 100 * result.table[["mean", "std"]].astype(float).reindex(entries).to_numpy()
    means, deviations = numbers.T.reshape(2, len(study.rows), len(study.columns))
    if np.isnan(means).all():
        return
    margin = 0.0 if np.nanmax(means) > np.nanmin(means) else 0.5
    ends: Any = {"vmin": np.nanmin(means) - margin, "vmax": np.nanmax(means) + margin}
    corners = [np.arange(size + 1) - 0.5 for size in means.shape]
    shown = np.ma.masked_invalid(means)
    mesh = axes.pcolormesh(*corners[::-1], shown, edgecolors="white", linewidth=1.5, **ends)
    for y, x in np.argwhere(~np.isnan(means)):
        deviation = "" if np.isnan(deviations[y, x]) else f"\n±{deviations[y, x]:.1f}"
        style: Any = {"color": text_colour(mesh.to_rgba(means[y, x])), "fontsize": FONT - 1}
        axes.text(x, y, f"{means[y, x]:.1f}{deviation}", ha="center", va="center", **style)
    bar: Any = figure.colorbar(mesh, ax=axes, location=bar_side, aspect=30, pad=0.02)
    bar.set_label("accuracy, %", fontsize=FONT)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL + 1)


def text_colour(background: Any) -> str:
    """Return black or white, whichever has more contrast (relative luminance as in WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def differences(result: StudyResult) -> Figure:
    """Return the difference of each paired entry to its partner, in points, with the 95 % interval of Student's t.

    All panels share a scale. For large differences it is linear up to one point and logarithmic beyond, so that gains
    of less than one point stay visible beside losses of many. A single set has a point without an interval.
    """
    study = result.study
    if not study.paired:
        raise InputError(
            f"{study.name} is plotted as differences, but pairs no entries: choose the plot 'heat map'."
        )
    rows, columns = (
        [label for label in labels if any(entry[axis] == label for entry in study.paired)]
        for axis, labels in enumerate((study.rows, study.columns))
    )
    found = 100 * result.differences[["difference", "low", "high"]].astype(float)
    kinds = result.differences["verdict"].where(result.differences["sets"] > 1, "single set")
    figure, panels = _panels(
        [wrapped(row, LABEL) for row in rows], [wrapped(column, _PANEL_WIDTH) for column in columns]
    )
    ends = _ends(found.to_numpy())
    for panel, column in zip(panels, columns, strict=True):
        _scale(panel, ends)
        for y, row in enumerate(rows):
            if (row, column) in found.index:
                _plot_difference(panel, y, *found.loc[(row, column)], style=_STYLES[kinds.loc[(row, column)]])
    beside = min(len(panels), _PANELS_BESIDE)
    width = beside * (_PANEL_WIDTH + _BESIDE) + 1
    unit = f"accuracy above that of {_partner(study)}, points" + " (logarithmic beyond ±1)" * _is_large(ends)
    figure.suptitle(wrapped(study.heading, width, TITLE), fontsize=TITLE)
    figure.supxlabel(wrapped(unit, width), fontsize=FONT)
    plotted = [kind for kind in _STYLES if (kinds == kind).any()]
    if plotted:
        handles: list[Artist] = [Line2D([], [], **plotting.POINT, **_STYLES[kind]) for kind in plotted]
        title = "95 % interval" if plotted != ["single set"] else None
        plotting.add_legend(panels[beside - 1], 1 + _BESIDE / _PANEL_WIDTH, handles, plotted, title)
    return figure


def _panels(labels: list[str], titles: list[str]) -> tuple[Figure, list[Axes]]:
    """Return a panel for each title, a few in each row."""
    beside = min(len(titles), _PANELS_BESIDE)
    down = -(-len(titles) // beside)
    width, height = text_size(*labels)
    panel = len(labels) * max(0.3, height + 0.1) + text_size(*titles)[1] + 0.4
    figure = plotting.new_figure(beside * (_PANEL_WIDTH + _BESIDE) + width + 1.2, down * panel + 0.8)
    panels: list[Axes] = figure.subplots(down, beside, squeeze=False).ravel().tolist()
    for extra in panels[len(titles) :]:
        extra.remove()
    for index, title in enumerate(titles):
        panels[index].set_title(title, fontsize=FONT)
        plotting.list_rows(
            panels[index], range(len(labels)), [""] * len(labels) if index % beside else labels
        )
    return figure, panels[: len(titles)]


def _plot_difference(
    axes: Axes, y: int, mean: float, low: float, high: float, *, style: Mapping[str, Any]
) -> None:
    """Plot one difference with its interval, and write it at the right."""
    if isfinite(low):
        axes.hlines(y, low, high, color=style["color"], linewidth=1.4)
    axes.plot([mean], [y], markersize=5, zorder=3, **style)
    text, right = f"{round(mean, 2) + 0.0:+.2f}", axes.get_yaxis_transform()
    axes.text(1.03, y, text, transform=right, fontsize=SMALL + 1, va="center", color=style["color"])


def _ends(percents: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the axis: zero, all differences and their intervals, within the possible differences."""
    known = percents[~np.isnan(percents)]
    low, high = np.clip([known.min(initial=-0.1), known.max(initial=0.1)], -100, 100).tolist()
    return low, high


def _scale(axes: Axes, ends: tuple[float, float]) -> None:
    """Set the scale of the axis of differences; it always includes zero."""
    large = _is_large(ends)
    if large:
        axes.set_xscale("symlog", linthresh=1.0)
    transform = axes.xaxis.get_transform()
    low, high = transform.transform(ends)
    margin = 0.06 * (high - low)
    axes.set_xlim(*transform.inverted().transform([low - margin, high + margin]))
    decades = FixedLocator([-100, -10, -1, 0, 1, 10, 100])
    axes.xaxis.set_major_locator(decades if large else MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{round(value, 6):+g}" if round(value, 6) else "0")


def _is_large(ends: tuple[float, float]) -> bool:
    """Whether differences are so large that small ones would not be visible beside them."""
    return max(map(abs, ends)) > _LINEAR


def _partner(study: Study) -> str:
    """Return the row that all entries of a column are paired with, if it is one."""
    rows = {partner[0] for partner in study.paired.values()}
    in_columns = all(entry[1] == partner[1] for entry, partner in study.paired.items())
    return f'"{rows.pop()}"' if in_columns and len(rows) == 1 else "the paired entry"


PLOTS = {"heat map": heat_map, "curves": curves, "differences": differences}
