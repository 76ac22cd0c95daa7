"""What plots share: fonts, colours, labels that fit, and files with reproducible bytes.

Plots use `Figure` objects, never pyplot, so that matplotlib's global state stays untouched. Import the modules with
plots only where a plot is written: they load matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, BinaryIO

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from datacondense.files import replacing

# Points of text.
TITLE = 11
FONT = 9
SMALL = 7

# Inches that text of size FONT takes.
LETTER = 0.075  # most texts need less
LINE = 0.17
LABEL = 2.1  # the label of a row

POINT: Any = {"linewidth": 1.4, "markersize": 4.5}

# Okabe and Ito's colours without yellow, distinguishable with every kind of colour vision; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def save_png(figure: Figure, path: Path | str) -> None:
    """Write a figure atomically; the same figure gives the same bytes with the same matplotlib."""
    with replacing(Path(path)) as temporary:
        write_png(figure, temporary)


def write_png(figure: Figure, file: Path | BinaryIO) -> None:
    """Write a figure to a path or an open file."""
    figure.savefig(
        file,
        dpi=200,
        format="png",
        facecolor="white",
        bbox_inches="tight",
        pad_inches=0.12,
        metadata={"Software": None},  # would name the version of matplotlib
    )


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches, which makes room for whatever stands around its panels."""
    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Axes) -> None:
    """Style a panel: a light grid, small numbers, no lines at the top and right."""
    axes.tick_params(labelsize=FONT - 1)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def list_rows(axes: Axes, heights: Any, labels: list[str]) -> None:
    """Set up a panel with a line and a label for each row, from top to bottom, and a line at zero."""
    bare(axes)
    axes.set_ylim(max(heights) + 0.5, -0.5)
    axes.set_yticks(heights, labels, fontsize=FONT)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="black", linewidth=0.9)


def add_legend(
    axes: Axes, right: float, handles: Sequence[Artist], labels: Sequence[str], title: str | None
) -> None:
    """Add a legend at the right of a panel, from `right` of its width on."""
    # matplotlib leaves out labels that begin with an underscore.
    shown = [f" {label}" if label.startswith("_") else label for label in labels]
    style: Any = {"fontsize": FONT, "title_fontsize": FONT, "frameon": False, "alignment": "left"}
    axes.legend(handles, shown, title=title, loc="upper left", bbox_to_anchor=(right, 1.02), **style)


def row_style(index: int) -> dict[str, Any]:
    """Return the colour and the marker of a row."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def wrapped(text: str, inches: float, size: float = FONT) -> str:
    """Return any text in lines of about a width, in glyphs of the font and without formulas."""
    font = get_font(findfont(FontProperties()))
    known = "".join(c if font.get_char_index(ord(c)) else "?" for c in " ".join(text.split()))
    letters = max(8, int(inches / LETTER * FONT / size))
    return "\n".join(wrap(known, letters)).replace("$", r"\$")


def text_size(*labels: str) -> tuple[float, float]:
    """Return the largest width and height of labels in inches, roughly."""
    lines = [label.split("\n") for label in labels]
    return LETTER * max(len(line) for label in lines for line in label), LINE * max(map(len, lines))
