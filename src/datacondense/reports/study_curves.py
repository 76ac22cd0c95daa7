"""The table of a study as curves over columns that are numbers."""

from math import inf, isfinite, log10, nan
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.patches import Patch
from numpy.typing import NDArray

from datacondense.errors import InputError
from datacondense.reports import plotting
from datacondense.reports.plotting import FONT, GREY, LABEL, LETTER, TITLE, text_size, wrapped
from datacondense.studies.results import FULL, StudyResult
from datacondense.studies.study import Published, Study

# Without a unit: shares of the axis.
_PANEL = (4.4, 3.2)  # inches
_CLOSEST_COLUMNS = 0.05  # closer ones make the axis logarithmic
_WIDEST_COLUMNS = 20  # ratio of last to first; a larger one makes the axis logarithmic
_DODGE = 0.025  # between the rows of a column
_BANDS = 5  # sets; intervals over fewer are so wide that their bands would cover each other
_BEYOND = 0.4  # of the span of the points, at least 5 percent: how far the axis follows their intervals
_BAND: Any = {"alpha": 0.18, "linewidth": 0}
_PUBLISHED: Any = {"linestyle": "--", "linewidth": 1.1, "markersize": 4.5, "markerfacecolor": "white"}
_FULL: Any = {"color": GREY, "linestyle": (0, (6, 3)), "linewidth": 1.1}


def curves(result: StudyResult) -> Figure:
    """Return one line per row with 95 % intervals, published values dashed, and the accuracy of full training.

    Intervals over fewer than five sets are bars side by side, those over more are bands. Missing numbers leave a gap.
    """
    study, known = result.study, result.table[result.table["low"].notna()]
    positions = _positions(study)
    x, banded = positions.to_numpy(), bool((known["sets"] >= _BANDS).all())
    rows = [_percents(result, row, list(positions.index)) for row in study.rows]
    every = pd.concat(rows)
    full = nan if result.full is None else 100 * result.full["mean"]
    labels = [wrapped(text, LABEL) for text in (study.row_axis, *study.rows)]
    figure = plotting.new_figure(_PANEL[0] + 0.5 + max(LABEL, text_size(*labels)[0]), _PANEL[1])
    axes = figure.subplots()
    axes.set_ylim(*_limits(every, full))  # before plotting, so that bars know where they end
    step = 0.0 if banded else min(_DODGE, 0.6 * float(np.diff(x).min(initial=1)) / len(rows))
    for index, row in enumerate(rows):
        _plot_row(axes, x + step * (index - (len(rows) - 1) / 2), row, index, banded=banded)
    if isfinite(full):
        axes.axhline(full, **_FULL)
    others = _others(every, known, full, banded=banded)
    styles: list[Artist] = [
        Line2D([], [], **plotting.POINT, **plotting.row_style(y)) for y in range(len(rows))
    ]
    plotting.add_legend(axes, 1.02, [*styles, *others.values()], [*labels[1:], *others], labels[0])
    kept = _apart(positions)
    axes.set_xticks(positions[kept], kept)
    margin = max(0.06, step * (len(rows) - 1) / 2 + 0.01)  # room for the outer rows of a column
    axes.set_xlim(-margin, 1 + margin)
    axes.set_xlabel(wrapped(study.column_axis, _PANEL[0]), fontsize=FONT)
    axes.set_ylabel("accuracy, %", fontsize=FONT)
    axes.set_title(wrapped(study.heading, _PANEL[0] + 0.4, TITLE), fontsize=TITLE, pad=8)
    plotting.bare(axes)
    return figure


def _positions(study: Study) -> pd.Series:
    """Return the columns in ascending order, each with its position from 0 to 1 on an axis that may be logarithmic."""
    labels = list(study.columns)
    values = pd.to_numeric(pd.Series(labels, labels), errors="coerce").astype(float).sort_values()
    for label in labels:
        if not isfinite(values[label]):
            raise InputError(
                f"The column {label!r} of {study.name} is not a number, but curves need numbers: choose the plot "
                "'heat map'."
            )
    first, last = values.iloc[0], values.iloc[-1]
    close = values.diff().min() < _CLOSEST_COLUMNS * (last - first)  # NaN of a single column is not
    if first > 0 and (last > _WIDEST_COLUMNS * first or close):
        values = values.map(log10)
    above = values - values.iloc[0]
    return above / above.iloc[-1] if above.iloc[-1] else above + 0.5


def _percents(result: StudyResult, row: str, columns: list[str]) -> pd.DataFrame:
    """Return mean, interval and published mean of a row in percent, column by column; NaN where unknown."""
    entries = pd.MultiIndex.from_product([[row], columns])
    found = 100 * result.table[["mean", "low", "high"]].astype(float).reindex(entries)
    printed = [result.study.published.get(entry, Published(nan)).mean for entry in entries]
    return found.assign(low=found["low"].clip(0), high=found["high"].clip(upper=100), published=printed)


def _limits(found: pd.DataFrame, full: float) -> tuple[float, float]:
    """Return the ends of the axis: all points, and of their intervals what leaves room for the points."""
    points = np.array([*found["mean"], *found["published"], full])
    if np.isnan(points).all():
        return 0.0, 100.0
    bottom, top = np.nanmin(points), np.nanmax(points)
    beyond = _BEYOND * max(top - bottom, 5.0)
    low = np.nanmin([bottom, max(bottom - beyond, found["low"].min())])
    high = np.nanmax([top, min(top + beyond, found["high"].max())])
    margin = max(0.05 * (high - low), 0.5)
    return float(low - margin), float(high + margin)


def _plot_row(axes: Axes, x: NDArray[np.float64], row: pd.DataFrame, index: int, *, banded: bool) -> None:
    """Plot a row: bars end in a caret where they leave the axis, and stand for bands that have no width."""
    style, ends = plotting.row_style(index), axes.get_ylim()
    known, printed = (row[name].notna().to_numpy() for name in ("low", "published"))
    axes.plot(x, row["mean"], **plotting.POINT, **style)
    axes.plot(x[printed], row["published"][printed], **_PUBLISHED, **style)
    if banded:
        axes.fill_between(x, row["low"], row["high"], color=style["color"], **_BAND)
        beside = np.pad(known, 1)
        known = known & ~(beside[:-2] | beside[2:])
    inside = row.clip(*ends)
    low, high = inside["low"][known], inside["high"][known]
    axes.vlines(x[known], low, high, color=style["color"], linewidth=1.1, alpha=0.75)
    for name, caret in (("low", CARETDOWN), ("high", CARETUP)):
        left = known & (row[name] != inside[name]).to_numpy()
        axes.plot(x[left], inside[name][left], linestyle="", marker=caret, color=style["color"], markersize=5)


def _apart(positions: pd.Series) -> list[str]:
    """Return the labels of columns without those that would touch the one before."""
    kept, end = [], -inf
    for label, position in positions.items():
        half = LETTER * (len(label) + 0.5) / 2 / (_PANEL[0] - 0.6)
        if position - half > end:
            kept.append(label)
            end = position + half
    return kept


def _others(found: pd.DataFrame, known: pd.DataFrame, full: float, *, banded: bool) -> dict[str, Artist]:
    """Return what the legend names beside the rows."""
    others: dict[str, Artist] = {}
    if found["published"].notna().any():
        others["published"] = Line2D([], [], color=GREY, marker="o", **_PUBLISHED)
    if isfinite(full):
        others[f"{FULL}: {full:.1f} %"] = Line2D([], [], **_FULL)
    if not known.empty:
        alone = "\n(of a single set: over its networks)" * bool((known["sets"] == 1).any())
        bar = Line2D([], [], color=GREY, linestyle="", marker="|", markersize=11)
        others[f"95 % interval of the mean{alone}"] = Patch(color=GREY, **_BAND) if banded else bar
    return others
