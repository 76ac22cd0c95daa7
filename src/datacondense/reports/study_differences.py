"""The paired differences of a study as points with intervals, a panel for each column."""

from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from datacondense.errors import InputError
from datacondense.reports.plotting import (
    COLOURS,
    FONT,
    SMALL,
    TITLE,
    bare,
    drawable,
    new_figure,
    row_label,
    wrapped,
)
from datacondense.studies.differences import Difference
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Study

# Inches.
_PANEL_WIDTH = 2.5
_ROW_HEIGHT = 0.3
_LINE_HEIGHT = 0.17
_BESIDE = 0.7  # a panel, for the numbers of its points
_BELOW = 0.36  # a panel, for its axis
_ABOVE = 0.15  # the title of a panel

_NARROWEST_TEXT = 3.6

_PANELS_BESIDE = 3
_LINEAR = 10.0  # points on both sides of zero; beyond, the axis is logarithmic
_MARGIN = 0.06  # of the axis, at both ends
_SMALLEST_SPAN = 0.2  # points
_MAX = 100.0  # points, the largest possible difference

_STYLES: Mapping[str, Any] = {
    "gain": {"color": COLOURS[0], "marker": "o"},
    "undecided": {"color": "#777777", "marker": "o", "markerfacecolor": "white"},
    "loss": {"color": COLOURS[1], "marker": "s"},
    "single set": {"color": "#777777", "marker": "D", "markerfacecolor": "white", "linestyle": ""},
}
_POINT: Any = {"markersize": 5, "linewidth": 1.4}


def differences(result: StudyResult) -> Figure:
    """Plot the difference of each paired entry to its partner, in points, with the 95 % interval of Student's t.

    All panels share a scale. For large differences it is linear up to one point and logarithmic beyond, so that gains
    of less than one point stay visible beside losses of many.

    Args:
        result: The study and its numbers; a single set has a point without an interval.

    Returns:
        The figure.

    Raises:
        InputError: The study pairs no entries.
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
    titles = [wrapped(drawable(column), _PANEL_WIDTH, FONT) for column in columns]
    labels = [row_label(drawable(row)) for row in rows]
    known = result.differences
    ends = _ends(known.values())
    figure, panels = _panels(labels, titles)
    for index, panel in enumerate(panels):
        panel.set_title(titles[index], fontsize=FONT)
        _mark_rows(panel, labels, named=index % _PANELS_BESIDE == 0)
        _scale(panel, ends)
        for y, row in enumerate(rows):
            if (row, columns[index]) in known:
                _plot_point(panel, y, known[row, columns[index]])
    _write_around(figure, panels, study, ends)
    _add_legend(panels[min(len(panels), _PANELS_BESIDE) - 1], {_kind(found) for found in known.values()})
    return figure


def _panels(labels: list[str], titles: list[str]) -> tuple[Figure, list[Axes]]:
    """Create the panels, a few in each row."""
    lines = max(label.count("\n") + 1 for label in labels)
    width, height = _PANEL_WIDTH, len(labels) * max(_ROW_HEIGHT, (lines + 0.5) * _LINE_HEIGHT)
    figure, first = new_figure((width, height))
    across = 1 + _BESIDE / width
    title = max(text.count("\n") + 1 for text in titles) * _LINE_HEIGHT
    down = 1 + (_BELOW + title + _ABOVE) / height
    others = [divmod(index, _PANELS_BESIDE) for index in range(1, len(titles))]
    return figure, [first, *(figure.add_axes((across * x, -down * y, 1, 1)) for y, x in others)]


def _mark_rows(axes: Axes, labels: list[str], *, named: bool) -> None:
    """Draw a line for each row, and its name if the panel is the first of its row."""
    bare(axes)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels if named else [""] * len(labels), fontsize=FONT)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="black", linewidth=0.9)


def _plot_point(axes: Axes, y: int, difference: Difference) -> None:
    """Plot one difference, and write it at the right."""
    style = _STYLES[_kind(difference)]
    low, high = (100 * end for end in difference.interval)
    if isfinite(low):
        axes.hlines(y, low, high, color=style["color"], linewidth=_POINT["linewidth"])
    mean = 100 * difference.mean
    axes.plot([mean], [y], markersize=_POINT["markersize"], zorder=3, **style)
    axes.text(
        1.03,
        y,
        f"{round(mean, 2) + 0.0:+.2f}",
        transform=axes.get_yaxis_transform(),
        fontsize=SMALL + 1,
        va="center",
        color=style["color"],
    )


def _kind(difference: Difference) -> str:
    """Return the style of a difference."""
    return difference.verdict if difference.sets > 1 else "single set"


def _ends(known: Iterable[Difference]) -> tuple[float, float]:
    """Return the ends of the axis: zero, all differences and their intervals, within the possible differences."""
    percents = [100 * end for found in known for end in (found.mean, *found.interval) if isfinite(end)]
    low, high = min(percents, default=0.0), max(percents, default=0.0)
    low, high = max(min(low, -_SMALLEST_SPAN / 2), -_MAX), min(max(high, _SMALLEST_SPAN / 2), _MAX)
    return low, high


def _scale(axes: Axes, ends: tuple[float, float]) -> None:
    """Set the scale of the axis of differences; it always includes zero."""
    logarithmic = _is_logarithmic(ends)
    if logarithmic:
        axes.set_xscale("symlog", linthresh=1.0)
    transform = axes.xaxis.get_transform()
    low, high = transform.transform(ends)
    margin = _MARGIN * (high - low)
    axes.set_xlim(*transform.inverted().transform([low - margin, high + margin]))
    decades = [-100, -10, -1, 0, 1, 10, 100]
    axes.xaxis.set_major_locator(
        FixedLocator(decades) if logarithmic else MaxNLocator(5, steps=[1, 2, 5, 10])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        lambda value, position: f"{round(value, 6):+g}" if round(value, 6) else "0"
    )


def _is_logarithmic(ends: tuple[float, float]) -> bool:
    """Return whether differences are so large that small ones would not be visible beside them."""
    return max(map(abs, ends)) > _LINEAR


def _write_around(figure: Figure, panels: list[Axes], study: Study, ends: tuple[float, float]) -> None:
    """Write the title above all panels, and the unit below them."""
    beside = min(len(panels), _PANELS_BESIDE)
    width = beside * _PANEL_WIDTH + (beside - 1) * _BESIDE
    titles = (panel.get_title() for panel in panels[:_PANELS_BESIDE])
    above = (max(title.count("\n") + 1 for title in titles) * _LINE_HEIGHT + _ABOVE) / figure.get_figheight()
    below = min(panel.get_position().y0 for panel in panels) - _BELOW / figure.get_figheight()
    unit = f"accuracy above that of {_partner(study)}, points"
    if _is_logarithmic(ends):
        unit += " (logarithmic beyond ±1)"
    for text, y, size, va in ((study.title, 1 + above, TITLE, "bottom"), (unit, below, FONT, "top")):
        words = wrapped(drawable(text), max(width, _NARROWEST_TEXT), size)
        figure.text(width / _PANEL_WIDTH / 2, y, words, fontsize=size, ha="center", va=va)


def _partner(study: Study) -> str:
    """Return the row that all entries of a column are paired with, if it is one."""
    rows = {partner[0] for partner in study.paired.values()}
    in_columns = all(entry[1] == partner[1] for entry, partner in study.paired.items())
    return f'"{rows.pop()}"' if in_columns and len(rows) == 1 else "the paired entry"


def _add_legend(axes: Axes, plotted: Collection[str]) -> None:
    """Add the legend of the kinds of points at the right."""
    if not plotted:
        return
    kinds = [kind for kind in _STYLES if kind in plotted]
    axes.legend(
        [Line2D([], [], **_POINT, **_STYLES[kind]) for kind in kinds],
        kinds,
        title="95 % interval" if kinds != ["single set"] else None,
        title_fontsize=FONT,
        fontsize=FONT,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1 + _BESIDE / _PANEL_WIDTH, 1.02),
        alignment="left",
    )
