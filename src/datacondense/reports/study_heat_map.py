"""The table of a study as a heat map."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from datacondense.reports.plotting import (
    FONT,
    MAX_LINES,
    SMALL,
    TITLE,
    drawable,
    new_figure,
    row_label,
    text_width,
    wrapped,
)
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Study

Square: TypeAlias = tuple[int, int]  # column and row

# Inches.
_SQUARE_HEIGHT = 0.58
_SINGLE_SQUARE_HEIGHT = 0.8  # of a single row
_SQUARE_WIDTH = 0.86
_NARROWEST_SQUARE = 0.6
_WIDEST_SQUARE = 1.5
_WIDEST_TABLE = 9.0
_TURNED_LABEL = 2.2
_BAR = 0.16
_BAR_GAP = 0.2
_SHORTEST_BAR = 1.5


def heat_map(result: StudyResult) -> Figure:
    """Plot a table of squares coloured by mean accuracy, with ± one standard deviation over networks.

    Args:
        result: The study and its numbers; entries without numbers are hatched.

    Returns:
        The figure.
    """
    study = result.study
    columns = _arranged([drawable(column) for column in study.columns])
    height = len(study.rows) * _SQUARE_HEIGHT if len(study.rows) > 1 else _SINGLE_SQUARE_HEIGHT
    size = (len(columns.labels) * columns.width, height)
    figure, axes = new_figure(size)
    axes.set(xlim=(-0.5, len(study.columns) - 0.5), ylim=(len(study.rows) - 0.5, -0.5))
    _label_entries(axes, study, columns, height)
    squares = {
        (row, column): (x, y) for y, row in enumerate(study.rows) for x, column in enumerate(study.columns)
    }
    known = {squares[entry]: numbers for entry, numbers in result.known.items()}
    _hatch(axes, [square for square in squares.values() if square not in known])
    if known:
        _fill(axes, known, size)
    axes.set_title(wrapped(drawable(study.title), max(size[0], 3.5), TITLE), fontsize=TITLE, pad=10)
    return figure


class _Columns(NamedTuple):
    """The columns of a heat map: width of a square, labels, and whether labels are turned."""

    width: float
    labels: list[str]
    turned: bool


def _arranged(labels: Sequence[str]) -> _Columns:
    """Return columns wide enough for their labels, or turn the labels."""
    widest = max(_NARROWEST_SQUARE, min(_WIDEST_SQUARE, _WIDEST_TABLE / len(labels)))
    needed = max(text_width(word, FONT) for label in labels for word in label.split() or [""]) + 0.12
    width = min(widest, max(_SQUARE_WIDTH, needed))
    lines = [wrapped(label, width - 0.1, FONT) for label in labels]
    if needed <= width and all(label.count("\n") < MAX_LINES for label in lines):
        return _Columns(width, lines, turned=False)
    width = min(widest, _SQUARE_WIDTH)
    return _Columns(width, [wrapped(label, _TURNED_LABEL, FONT) for label in labels], turned=True)


def _label_entries(axes: Axes, study: Study, columns: _Columns, height: float) -> None:
    """Label rows and columns; columns at the top, as in a table."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns.labels)), columns.labels)
    if columns.turned:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="left", va="bottom", rotation_mode="anchor")
    axes.set_yticks(range(len(study.rows)), [row_label(drawable(row)) for row in study.rows])
    axes.tick_params(length=0, labelsize=FONT)
    width = len(columns.labels) * columns.width
    axes.set_xlabel(wrapped(drawable(study.column_axis), max(width, 3), FONT), fontsize=FONT, labelpad=6)
    axes.set_ylabel(wrapped(drawable(study.row_axis), max(height, 1), FONT), fontsize=FONT, labelpad=6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _hatch(axes: Axes, squares: Sequence[Square]) -> None:
    """Mark entries without numbers."""
    for x, y in squares:
        corner = (x - 0.5, y - 0.5)
        style: Any = {"facecolor": "#eeeeee", "edgecolor": "#bbbbbb", "hatch": "////"}
        axes.add_patch(Rectangle(corner, 1, 1, linewidth=0, **style))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="white", linewidth=1.5))


def _fill(axes: Axes, known: dict[Square, EntryResult], size: tuple[float, float]) -> None:
    """Colour entries, write their numbers, and add the colour bar."""
    means = [100 * entry.mean for entry in known.values()]
    margin = 0.0 if max(means) > min(means) else 0.5
    scale = ScalarMappable(Normalize(min(means) - margin, max(means) + margin), "viridis")
    colours: list[list[float]] = scale.to_rgba(np.array(means)).tolist()
    for ((x, y), entry), colour in zip(known.items(), colours, strict=True):
        corner = (x - 0.5, y - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
        _write_numbers(axes, (x, y), entry, _text_colour(colour))
    _add_scale(axes, scale, size)


def _add_scale(axes: Axes, scale: ScalarMappable, size: tuple[float, float]) -> None:
    """Add the colour bar beside the table, or below a low one."""
    width, height = size
    beside = height >= _SHORTEST_BAR
    right = (1 + _BAR_GAP / width, 0, _BAR / width, 1)
    below = (0, -(_BAR_GAP + _BAR) / height, 1, _BAR / height)
    bar_axes = axes.figure.add_axes(right if beside else below)
    bar: Any = axes.figure.colorbar(scale, cax=bar_axes, orientation="vertical" if beside else "horizontal")
    bar.set_label("accuracy, %", fontsize=FONT)
    bar.outline.set_visible(False)
    bar_axes.tick_params(labelsize=SMALL + 1)


def _write_numbers(axes: Axes, square: Square, entry: EntryResult, colour: str) -> None:
    """Write mean and standard deviation; a single network has none."""
    x, y = square
    settings: Any = {"ha": "center", "color": colour}
    if entry.n == 1:
        axes.text(x, y, f"{100 * entry.mean:.1f}", fontsize=FONT, va="center", **settings)
        return
    axes.text(x, y + 0.06, f"{100 * entry.mean:.1f}", fontsize=FONT, va="bottom", **settings)
    axes.text(x, y + 0.08, f"±{100 * entry.std:.1f}", fontsize=SMALL, va="top", **settings)


def _text_colour(background: Sequence[float]) -> str:
    """Return black or white, whichever has more contrast (relative luminance as in WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"
