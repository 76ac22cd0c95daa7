"""What the plots of studies share: fonts, colours, labels that fit, and files with reproducible bytes.

Plots use `Figure` objects, never pyplot, so that matplotlib's global state stays untouched. Import the modules with
plots only where a plot is written: they load matplotlib.
"""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from datacondense.files import replacing

# Points of text; inches everywhere else.
TITLE = 11
FONT = 9
SMALL = 7
MAX_LINES = 3  # of a label

# Okabe and Ito's colours without yellow, distinguishable with every kind of colour vision; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_DPI = 200
_ROW_LABEL = 1.8


def save_png(figure: Figure, path: Path | str) -> None:
    """Write a figure atomically; the same figure gives the same bytes with the same matplotlib.

    Args:
        figure: The figure; what lies outside of its area is saved too.
        path: The PNG file to write.

    Raises:
        InputError: The file cannot be written.
    """
    with replacing(Path(path)) as temporary:
        figure.savefig(
            temporary,
            dpi=_DPI,
            format="png",
            facecolor="white",
            bbox_inches="tight",  # the figure is as large as its first panel or table; labels lie outside
            pad_inches=0.12,
            metadata={"Software": None},  # would name the version of matplotlib
        )


def new_figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return a figure filled by its axes, so that both have the same size in inches.

    Args:
        size: Width and height in inches.

    Returns:
        The figure and its axes.
    """
    figure = Figure(figsize=size)
    return figure, figure.add_axes((0, 0, 1, 1))


def bare(axes: Axes) -> None:
    """Style a panel: a light grid, small numbers, no lines at the top and right.

    Args:
        axes: The panel.
    """
    axes.tick_params(labelsize=FONT - 1)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def row_style(index: int) -> dict[str, Any]:
    """Return the style of a row's points and lines.

    Args:
        index: Its number, from 0.

    Returns:
        Colour and marker.
    """
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def row_label(label: str) -> str:
    """Wrap the label of a row, wider than usual if it needs too many lines.

    Args:
        label: What `drawable` gives.

    Returns:
        The label in a few lines.
    """
    inches = _ROW_LABEL
    while (lines := wrapped(label, inches, FONT)).count("\n") >= MAX_LINES:
        inches += 0.5
    return lines


def drawable(text: str) -> str:
    """Return text on one line, with only the glyphs of the font, and without formulas.

    Args:
        text: Any text.

    Returns:
        Text that can be plotted.
    """
    font = get_font(findfont(FontProperties()))
    line = " ".join(text.split())
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in line).replace("$", r"\$")


def wrapped(text: str, inches: float, size: float) -> str:
    """Wrap text between words; a word longer than the width has its own line.

    Args:
        text: What `drawable` gives.
        inches: The width.
        size: Font size in points.

    Returns:
        The lines.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def text_width(text: str, size: float) -> float:
    """Return the width of a line of text.

    Args:
        text: The line.
        size: Font size in points.

    Returns:
        Its width in inches.
    """
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / 72
