"""Pictures of a study: a heat map of its table, or curves along columns that are numbers.

matplotlib is imported by what draws, so that importing this module costs nothing, and its settings are left alone.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from math import inf, isfinite, log10, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from datacondense.errors import InputError
from datacondense.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from datacondense.studies.results import EntryResult, StudyResult
    from datacondense.studies.study import Entry, Study

Place: TypeAlias = tuple[int, int]  # column and row of a heat map

_DPI = 200

# Points of text; inches everywhere else.
_TITLE = 11
_FONT = 9
_SMALL = 7

_CELL_HEIGHT = 0.58
_ONLY_CELL_HEIGHT = 0.8  # of a single row
_CELL_WIDTH = 0.86
_NARROWEST_CELL = 0.6
_WIDEST_CELL = 1.5
_WIDEST_TABLE = 9.0
_ROW_LABEL = 1.8
_TURNED_LABEL = 2.2
_MOST_LINES = 3  # of a label
_BAR = 0.16
_BAR_GAP = 0.2
_SHORTEST_BAR = 1.5

_PANEL = (4.2, 3.2)
_PANEL_GAP = 0.85
_LEGEND = 2.2
_CLOSEST_COLUMNS = 0.05  # of the axis, before it is logarithmic
_MARGIN = 0.05  # on both sides of the columns, of what they span

# Okabe and Ito's colours without the yellow, told apart with every kind of colour vision; markers differ too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_PUBLISHED: Any = {"linestyle": "--", "linewidth": 1.1, "markersize": 4.5, "markerfacecolor": "white"}


def draw_study(result: "StudyResult", path: Path | str) -> None:
    """Draw a study as a PNG picture; the same numbers give the same bytes with the same matplotlib.

    A heat map shows mean accuracies in percent with ± one standard deviation over networks; entries without numbers
    are hatched. Curves show the means with a band of ± one standard deviation, published values dashed, and in a second
    panel the same relative to the whole data set, where its accuracy is known.

    Args:
        result: The study and its numbers.
        path: The PNG file to write.

    Raises:
        InputError: The columns of a study drawn as curves are no numbers, or the file cannot be written.
    """
    figure = _curves(result) if result.study.drawing == "curves" else _heat_map(result)
    with replacing(Path(path)) as temporary:
        figure.savefig(
            temporary,
            dpi=_DPI,
            format="png",
            facecolor="white",
            bbox_inches="tight",  # labels lie outside the figure, which is no larger than the table or the first panel
            pad_inches=0.12,
            metadata={"Software": None},  # the format would note the program that made it
        )


class _Columns(NamedTuple):
    """How the columns of a heat map are labelled: width of a cell, texts, and whether they are turned."""

    width: float
    labels: list[str]
    turned: bool


def _heat_map(result: "StudyResult") -> "Figure":
    """Draw a table whose cells are coloured by their means."""
    study = result.study
    columns = _arranged([_drawable(column) for column in study.columns])
    height = len(study.rows) * _CELL_HEIGHT if len(study.rows) > 1 else _ONLY_CELL_HEIGHT
    size = (len(columns.labels) * columns.width, height)
    figure, axes = _figure(size)
    axes.set(xlim=(-0.5, len(study.columns) - 0.5), ylim=(len(study.rows) - 0.5, -0.5))
    _label_cells(axes, study, columns, height)
    places = {
        (row, column): (x, y) for y, row in enumerate(study.rows) for x, column in enumerate(study.columns)
    }
    known = {places[entry]: numbers for entry, numbers in _known(result).items()}
    _hatch(axes, [place for place in places.values() if place not in known])
    if known:
        _fill(axes, known, size)
    axes.set_title(_wrapped(_drawable(study.title), max(size[0], 3.5), _TITLE), fontsize=_TITLE, pad=10)
    return figure


def _known(result: "StudyResult") -> dict["Entry", "EntryResult"]:
    """Give the entries of the table that have numbers."""
    entries = result.entries
    places = product(result.study.rows, result.study.columns)
    return {place: entries[place] for place in places if place in entries and entries[place].n}


def _figure(size: tuple[float, float]) -> tuple["Figure", "Axes"]:
    """Make a figure that is filled by its axes, so that inches of one are inches of the other."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size)
    return figure, figure.add_axes((0, 0, 1, 1))


def _arranged(labels: Sequence[str]) -> _Columns:
    """Choose the width of cells so that labels fit above them, or turn the labels."""
    widest = max(_NARROWEST_CELL, min(_WIDEST_CELL, _WIDEST_TABLE / len(labels)))
    needed = max(_width(word, _FONT) for label in labels for word in label.split() or [""]) + 0.12
    width = min(widest, max(_CELL_WIDTH, needed))
    wrapped = [_wrapped(label, width - 0.1, _FONT) for label in labels]
    if needed <= width and all(label.count("\n") < _MOST_LINES for label in wrapped):
        return _Columns(width, wrapped, turned=False)
    width = min(widest, _CELL_WIDTH)
    return _Columns(width, [_wrapped(label, _TURNED_LABEL, _FONT) for label in labels], turned=True)


def _label_cells(axes: "Axes", study: "Study", columns: _Columns, height: float) -> None:
    """Write what rows and columns are; columns on top, as in a table."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns.labels)), columns.labels)
    if columns.turned:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="left", va="bottom", rotation_mode="anchor")
    axes.set_yticks(range(len(study.rows)), [_row_label(_drawable(row)) for row in study.rows])
    axes.tick_params(length=0, labelsize=_FONT)
    width = len(columns.labels) * columns.width
    axes.set_xlabel(_wrapped(_drawable(study.column_axis), max(width, 3), _FONT), fontsize=_FONT, labelpad=6)
    axes.set_ylabel(_wrapped(_drawable(study.row_axis), max(height, 1), _FONT), fontsize=_FONT, labelpad=6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _row_label(label: str) -> str:
    """Wrap the label of a row, in more than its usual width where it would be too high."""
    inches = _ROW_LABEL
    while (wrapped := _wrapped(label, inches, _FONT)).count("\n") >= _MOST_LINES:
        inches += 0.5
    return wrapped


def _hatch(axes: "Axes", places: Sequence[Place]) -> None:
    """Mark entries without numbers."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    for x, y in places:
        corner = (x - 0.5, y - 0.5)
        style: Any = {"facecolor": "#eeeeee", "edgecolor": "#bbbbbb", "hatch": "////"}
        axes.add_patch(Rectangle(corner, 1, 1, linewidth=0, **style))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="white", linewidth=1.5))


def _fill(axes: "Axes", known: dict[Place, "EntryResult"], size: tuple[float, float]) -> None:
    """Colour entries, write their numbers, and add the scale of colours."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import Normalize  # noqa: PLC0415
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    means = [100 * entry.mean for entry in known.values()]
    margin = 0.0 if max(means) > min(means) else 0.5
    scale = ScalarMappable(Normalize(min(means) - margin, max(means) + margin), "viridis")
    colours: list[list[float]] = scale.to_rgba(np.array(means)).tolist()
    for ((x, y), entry), colour in zip(known.items(), colours, strict=True):
        corner = (x - 0.5, y - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
        _write_numbers(axes, (x, y), entry, _text_colour(colour))
    _add_scale(axes, scale, size)


def _add_scale(axes: "Axes", scale: "ScalarMappable", size: tuple[float, float]) -> None:
    """Say what the colours mean: beside the table, or below a low one."""
    width, height = size
    beside = height >= _SHORTEST_BAR
    place = (1 + _BAR_GAP / width, 0, _BAR / width, 1)
    below = (0, -(_BAR_GAP + _BAR) / height, 1, _BAR / height)
    bar_axes = axes.figure.add_axes(place if beside else below)
    bar: Any = axes.figure.colorbar(scale, cax=bar_axes, orientation="vertical" if beside else "horizontal")
    bar.set_label("accuracy, %", fontsize=_FONT)
    bar.outline.set_visible(False)
    bar_axes.tick_params(labelsize=_SMALL + 1)


def _write_numbers(axes: "Axes", place: Place, entry: "EntryResult", colour: str) -> None:
    """Write mean and standard deviation; a single network has none."""
    x, y = place
    settings: Any = {"ha": "center", "color": colour}
    if entry.n == 1:
        axes.text(x, y, f"{100 * entry.mean:.1f}", fontsize=_FONT, va="center", **settings)
        return
    axes.text(x, y + 0.06, f"{100 * entry.mean:.1f}", fontsize=_FONT, va="bottom", **settings)
    axes.text(x, y + 0.08, f"±{100 * entry.std:.1f}", fontsize=_SMALL, va="top", **settings)


def _text_colour(background: Sequence[float]) -> str:
    """Choose black or white, whichever contrasts more (relative luminance as in WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _curves(result: "StudyResult") -> "Figure":
    """Draw one line per row along the columns, and the same relative to the whole data set."""
    study = result.study
    values = _column_values(study)
    figure, axes = _figure(_PANEL)
    _draw_lines(axes, result, values, 1.0)
    _draw_published(axes, study, values)
    panels = [(axes, "accuracy, %")]
    if result.whole is not None and result.whole.n and result.whole.mean:
        place = (1 + _PANEL_GAP / _PANEL[0], 0, 1, 1)
        panels.append((figure.add_axes(place), "relative to the whole data set, %"))
        _draw_lines(panels[1][0], result, values, 1 / result.whole.mean)
    for panel, unit in panels:
        _finish_panel(panel, study, values, unit)
    _add_legend(panels[-1][0], study)
    width = _PANEL[0] if len(panels) == 1 else 2 * _PANEL[0] + _PANEL_GAP
    title = _wrapped(_drawable(study.title), width, _TITLE)
    figure.text(width / _PANEL[0] / 2, 1 + 0.12 / _PANEL[1], title, fontsize=_TITLE, ha="center", va="bottom")
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
                "drawing 'heat map'."
            )
    return dict(sorted(values.items(), key=lambda item: item[1]))


def _style(index: int) -> dict[str, Any]:
    """Give colour and marker of a row."""
    return {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}


def _draw_lines(axes: "Axes", result: "StudyResult", values: dict[str, float], factor: float) -> None:
    """Draw means and bands of all rows in percent of something; what is missing leaves a gap."""
    known = _known(result)
    places = list(values.values())
    for index, row in enumerate(result.study.rows):
        entries = [known.get((row, column)) for column in values]
        means = [nan if entry is None else 100 * factor * entry.mean for entry in entries]
        spreads = [nan if entry is None else 100 * factor * entry.std for entry in entries]
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        style = _style(index)
        band: Any = {"color": style["color"], "alpha": 0.18}
        axes.fill_between(places, low, high, linewidth=0, **band)
        for at in _alone(means):  # a band has no width there
            axes.vlines(places[at], low[at], high[at], linewidth=5, **band)
        axes.plot(places, means, markersize=4.5, linewidth=1.4, **style)
    if not known:
        axes.set_ylim(0, 100)


def _alone(values: Sequence[float]) -> list[int]:
    """Find the numbers that have gaps, or nothing, on both sides."""
    padded = [nan, *values, nan]
    triples = zip(padded, values, padded[2:], strict=False)
    return [
        index for index, triple in enumerate(triples) if list(map(isfinite, triple)) == [False, True, False]
    ]


def _draw_published(axes: "Axes", study: "Study", values: dict[str, float]) -> None:
    """Draw published means, dashed and with hollow markers."""
    for index, row in enumerate(study.rows):
        found = {
            value: study.published[row, label].mean
            for label, value in values.items()
            if (row, label) in study.published
        }
        axes.plot(list(found), list(found.values()), **_PUBLISHED, **_style(index))


def _finish_panel(axes: "Axes", study: "Study", values: dict[str, float], unit: str) -> None:
    """Label a panel, and mark its columns."""
    _mark_columns(axes, values)
    axes.set_xlabel(_wrapped(_drawable(study.column_axis), _PANEL[0], _FONT), fontsize=_FONT)
    axes.set_ylabel(unit, fontsize=_FONT)
    axes.tick_params(labelsize=_FONT - 1)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mark_columns(axes: "Axes", values: dict[str, float]) -> None:
    """Mark the columns along the axis, which is logarithmic where they lie close; no label touches another."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415

    numbers = list(values.values())
    closest = min((after - before for before, after in pairwise(numbers)), default=inf)
    logarithmic = numbers[0] > 0 and closest < _CLOSEST_COLUMNS * (numbers[-1] - numbers[0])
    if logarithmic:
        axes.set_xscale("log")
    places = [log10(number) for number in numbers] if logarithmic else numbers
    kept = _apart(values, places)
    axes.set_xticks([values[label] for label in kept], [_drawable(label) for label in kept])
    axes.xaxis.set_minor_locator(NullLocator())
    margin = _MARGIN * (places[-1] - places[0]) or 1
    ends = (places[0] - margin, places[-1] + margin)
    axes.set_xlim(*((10**end for end in ends) if logarithmic else ends))


def _apart(labels: Iterable[str], places: Sequence[float]) -> list[str]:
    """Leave out labels that would touch the one before."""
    inches = _PANEL[0] / (1 + 2 * _MARGIN) / ((places[-1] - places[0]) or 1)
    kept, end = [], -inf
    for label, place in zip(labels, places, strict=True):
        half = _width(_drawable(label), _FONT) / 2 + 0.03
        if inches * place - half > end:
            kept.append(label)
            end = inches * place + half
    return kept


def _add_legend(axes: "Axes", study: "Study") -> None:
    """Name the rows at the right of the panel."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles = [Line2D([], [], markersize=4.5, **_style(index)) for index in range(len(study.rows))]
    labels = [_wrapped(_drawable(row), _LEGEND, _FONT) for row in study.rows]
    if any(place in study.published for place in product(study.rows, study.columns)):
        handles.append(Line2D([], [], color="#555555", marker="o", **_PUBLISHED))
        labels.append("published")
    axes.legend(
        handles,
        # Labels that begin with an underscore would be left out.
        [f" {label}" if label.startswith("_") else label for label in labels],
        title=_wrapped(_drawable(study.row_axis), _LEGEND, _FONT),
        title_fontsize=_FONT,
        fontsize=_FONT,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        alignment="left",
    )


def _drawable(text: str) -> str:
    """Put text on one line in letters that the font has, where no dollar sign begins a formula."""
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415

    font = get_font(findfont(FontProperties()))
    line = " ".join(text.split())
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in line).replace("$", r"\$")


def _wrapped(text: str, inches: float, size: float) -> str:
    """Break text between words into lines of a width; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _width(text: str, size: float) -> float:
    """Measure a line of text in inches."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / 72
