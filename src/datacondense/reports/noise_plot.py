"""Plot of gradient noise: shares as points with intervals, a panel for each part, a line for each variant."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datacondense.matching.decomposition import Component
from datacondense.reports.plotting import (
    FONT,
    SMALL,
    TITLE,
    bare,
    drawable,
    new_figure,
    row_style,
    save_png,
    wrapped,
)
from datacondense.studies.noise_running import PARTS, NoiseResult

# Inches.
_PANEL_WIDTH = 1.75
_GAP = 0.22
_ROW_HEIGHT = 0.27
_BETWEEN_NETWORKS = 0.6  # of a row

_ENDS = (-10.0, 110.0)  # of the axis in percent; intervals may extend further
_TITLE = "What the matching gradient is made of"
_MEANINGS = {
    "data": "common to all",
    "network": "of the network alone",
    "batch": "of the batch alone",
    "interaction": "of both together",
}


def plot_noise(result: NoiseResult, path: Path | str) -> None:
    """Plot the shares for all classes together as a PNG file; the same numbers give the same bytes.

    Args:
        result: The numbers; missing ones have no point.
        path: The PNG file to write.

    Raises:
        InputError: The file cannot be written.
    """
    save_png(noise_figure(result), path)


def noise_figure(result: NoiseResult) -> Figure:
    """Plot the shares for all classes together, with one panel for each part.

    Args:
        result: The numbers.

    Returns:
        The figure.
    """
    heights = _heights(result)
    height = (heights[-1] + 1) * _ROW_HEIGHT
    figure, first = new_figure((_PANEL_WIDTH, height))
    across = 1 + _GAP / _PANEL_WIDTH
    panels = [first, *(figure.add_axes((across * x, 0, 1, 1)) for x in range(1, len(PARTS)))]
    for index, (panel, part) in enumerate(zip(panels, PARTS, strict=True)):
        _finish_panel(panel, result, heights, part, named=index == 0)
        for y, variant in zip(heights, result.rows, strict=True):
            entry = result.entries.get(variant)
            if entry is None or entry.all_classes is None:
                _plot_no_number(panel, y)
            else:
                _plot_point(panel, y, getattr(entry.all_classes, part), index)
    _write_around(figure, len(panels))
    return figure


def _heights(result: NoiseResult) -> list[float]:
    """Return the height of each line, those of one network closer together."""
    several = len(result.variants) > 1
    return [
        index + (_BETWEEN_NETWORKS * (index // len(result.variants)) if several else 0.0)
        for index in range(len(result.rows))
    ]


def _finish_panel(axes: Axes, result: NoiseResult, heights: list[float], part: str, *, named: bool) -> None:
    """Set up the axes of a panel; only the first one names its lines."""
    bare(axes)
    labels = [drawable(_label(result, *variant)) for variant in result.rows]
    axes.set_ylim(heights[-1] + 0.5, -0.5)
    axes.set_yticks(heights, labels if named else [""] * len(labels), fontsize=FONT)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*_ENDS)
    axes.set_xticks([0, 50, 100])
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_title(part, fontsize=FONT, fontweight="bold", pad=16)
    axes.annotate(
        _MEANINGS[part],
        (0.5, 1),
        (0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        fontsize=SMALL,
    )


def _label(result: NoiseResult, network: str, variant: str) -> str:
    """Return the name of a line, without what all lines have in common."""
    if len(result.variants) == 1:
        return network
    return variant if len(result.networks) == 1 else f"{network}, {variant}"


def _plot_point(axes: Axes, y: float, part: Component, index: int) -> None:
    """Plot a share with its interval."""
    style = row_style(index)
    if part.interval is not None:
        low, high = (100 * end for end in part.interval)
        axes.hlines(y, low, high, color=style["color"], linewidth=1.4)
    # A share beyond the axis is plotted at its end, not left out.
    axes.plot([min(max(100 * part.share, _ENDS[0]), _ENDS[1])], [y], markersize=5, zorder=3, **style)


def _plot_no_number(axes: Axes, y: float) -> None:
    """Write that a share is missing."""
    style: Any = {"color": "#777777", "backgroundcolor": "white", "fontsize": SMALL}
    axes.text(50, y, "no number", ha="center", va="center", **style)


def _write_around(figure: Figure, panels: int) -> None:
    """Write the title above all panels, and the unit below them."""
    width = panels * _PANEL_WIDTH + (panels - 1) * _GAP
    middle, height = width / _PANEL_WIDTH / 2, figure.get_figheight()
    title = wrapped(_TITLE, width, TITLE)
    figure.text(middle, 1 + 0.5 / height, title, fontsize=TITLE, ha="center", va="bottom")
    unit = "share of the expected squared length, %, with 95 % intervals"
    figure.text(middle, -0.3 / height, unit, fontsize=FONT, ha="center", va="top")
