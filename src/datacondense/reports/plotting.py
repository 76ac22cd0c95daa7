"""What the pictures of studies share: fonts, colours, labels that fit, and files with the same bytes.

matplotlib is imported by what draws, so that importing this module costs nothing, and its settings are left alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datacondense.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points of text; inches everywhere else.
TITLE = 11
FONT = 9
SMALL = 7
MOST_LINES = 3  # of a label

# Okabe and Ito's colours without the yellow, told apart with every kind of colour vision; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_DPI = 200
_ROW_LABEL = 1.8


def save_png(figure: "Figure", path: Path | str) -> None:
    """Write a figure atomically; the same figure gives the same bytes with the same matplotlib.

    Args:
        figure: The figure; what lies outside of it is in the picture too.
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
            bbox_inches="tight",  # labels lie outside the figure, which is no larger than the table or the first panel
            pad_inches=0.12,
            metadata={"Software": None},  # the format would note the program that made it
        )


def new_figure(size: tuple[float, float]) -> tuple["Figure", "Axes"]:
    """Make a figure that is filled by its axes, so that inches of one are inches of the other.

    Args:
        size: Width and height in inches.

    Returns:
        The figure and its axes.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size)
    return figure, figure.add_axes((0, 0, 1, 1))


def bare(axes: "Axes") -> None:
    """Give a panel a light grid, small numbers, and no lines on top and at the right.

    Args:
        axes: The panel.
    """
    axes.tick_params(labelsize=FONT - 1)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def row_style(index: int) -> dict[str, Any]:
    """Choose how a row of a table is drawn.

    Args:
        index: Its number, from 0.

    Returns:
        Colour and marker.
    """
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def row_label(label: str) -> str:
    """Wrap the label of a row, in more than its usual width where it would be too high.

    Args:
        label: What `drawable` gives.

    Returns:
        The label in a few lines.
    """
    inches = _ROW_LABEL
    while (lines := wrapped(label, inches, FONT)).count("\n") >= MOST_LINES:
        inches += 0.5
    return lines


def drawable(text: str) -> str:
    """Put text on one line in letters that the font has, where no dollar sign begins a formula.

    Args:
        text: Any text.

    Returns:
        Text that can be drawn.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415

    font = get_font(findfont(FontProperties()))
    line = " ".join(text.split())
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in line).replace("$", r"\$")


def wrapped(text: str, inches: float, size: float) -> str:
    """Break text between words into lines of a width; a longer word has a line of its own.

    Args:
        text: What `drawable` gives.
        inches: The width.
        size: Of the letters, in points.

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
    """Measure a line of text.

    Args:
        text: The line.
        size: Of the letters, in points.

    Returns:
        Its width in inches.
    """
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / 72
