"""The table of a study as curves over columns that are numbers."""

from itertools import pairwise
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
    x, banded = np.array(list(positions.values())), bool((known["sets"] >= _BANDS).all())
    rows = [_percents(result, row, list(positions)) for row in study.rows]
    full = nan if result.full is None else 100 * result.full["mean"]
    labels = [wrapped(text, LABEL) for text in (study.row_axis, *study.rows)]
    figure = plotting.new_figure(_PANEL[0] + 0.5 + max(LABEL, text_size(*labels)[0]), _PANEL[1])
    axes = figure.subplots()
    axes.set_ylim(*_limits(pd.concat(rows), full))  # before plotting, so that bars know where they end
    step = 0.0 if banded else min(_DODGE, 0.6 * float(np.diff(x).min(initial=1)) / len(rows))
    for index, row in enumerate(rows):
        _plot_row(axes, x + step * (index - (len(rows) - 1) / 2), row, index, banded=banded)
    _name(axes, result, labels, full, banded=banded)
    kept = _apart(positions)
    axes.set_xticks([positions[label] for label in kept], kept)
    axes.set_xlim(-0.06, 1.06)
    axes.set_xlabel(wrapped(study.column_axis, _PANEL[0]), fontsize=FONT)
    axes.set_ylabel("accuracy, %", fontsize=FONT)
    axes.set_title(wrapped(study.heading, _PANEL[0] + 0.4, TITLE), fontsize=TITLE, pad=8)
    plotting.bare(axes)
    return figure


def _positions(study: Study) -> dict[str, float]:
    """Return the columns in ascending order, each with its position from 0 to 1 on an axis that may be logarithmic."""
    values = dict(zip(study.columns, pd.to_numeric(pd.Series(study.columns), errors="coerce"), strict=True))
    for label, value in values.items():
        if not isfinite(value):
            raise InputError(
                f"The column {label!r} of {study.name} is not a number, but curves need numbers: choose the plot "
                "'heat map'."
            )
    first, last = min(values.values()), max(values.values())
    closest = min((b - a for a, b in pairwise(sorted(values.values()))), default=inf)
    if first > 0 and (last > _WIDEST_COLUMNS * first or closest < _CLOSEST_COLUMNS * (last - first)):
        values, first, last = (
            {label: log10(value) for label, value in values.items()},
            log10(first),
            log10(last),
        )
    spread = {
        label: (value - first) / (last - first) if last > first else 0.5 for label, value in values.items()
    }
    return dict(sorted(spread.items(), key=lambda item: item[1]))


def _percents(result: StudyResult, row: str, columns: list[str]) -> pd.DataFrame:
    """Return mean, interval and published mean of a row in percent, column by column; NaN where unknown."""
    entries = pd.MultiIndex.from_product([[row], columns])
    found = 100 * result.table[["mean", "low", "high"]].astype(float).reindex(entries)
    found[["low", "high"]] = found[["low", "high"]].clip(0, 100)
    return found.assign(
        published=[result.study.published.get(entry, Published(nan)).mean for entry in entries]
    )


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
    axes.vlines(
        x[known], inside["low"][known], inside["high"][known], color=style["color"], linewidth=1.1, alpha=0.75
    )
    for name, caret in (("low", CARETDOWN), ("high", CARETUP)):
        left = known & (row[name] != inside[name]).to_numpy()
        axes.plot(x[left], inside[name][left], linestyle="", marker=caret, color=style["color"], markersize=5)


def _apart(positions: dict[str, float]) -> list[str]:
    """Return the labels of columns without those that would touch the one before."""
    kept, end = [], -inf
    for label, position in positions.items():
        half = LETTER * (len(label) + 0.5) / 2 / (_PANEL[0] - 0.6)
        if position - half > end:
            kept.append(label)
            end = position + half
    return kept


def _name(axes: Axes, result: StudyResult, labels: list[str], full: float, *, banded: bool) -> None:
    """Add the legend of curves: the rows, and what else is plotted."""
    known = result.table[result.table["low"].notna()]
    handles: list[Artist] = [
        Line2D([], [], **plotting.POINT, **plotting.row_style(index)) for index in range(len(labels) - 1)
    ]
    if any(
        row in result.study.rows and column in result.study.columns for row, column in result.study.published
    ):
        handles.append(Line2D([], [], color=GREY, marker="o", **_PUBLISHED))
        labels = [*labels, "published"]
    if isfinite(full):
        handles.append(Line2D([], [], **_FULL))
        labels = [*labels, f"{FULL}: {full:.1f} %"]
    if not known.empty:
        bar = Line2D([], [], color=GREY, linestyle="", marker="|", markersize=11)
        handles.append(Patch(color=GREY, **_BAND) if banded else bar)
        alone = "\n(of a single set: over its networks)" * bool((known["sets"] == 1).any())
        labels = [*labels, f"95 % interval of the mean{alone}"]
    plotting.add_legend(axes, 1.02, handles, labels[1:], labels[0])
