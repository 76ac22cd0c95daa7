"""The shares of gradient noise as points with intervals: a panel for each part, a line for each network and variant."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datacondense.reports.noise import PARTS, variants
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from datacondense.matching.decomposition import Component
    from datacondense.studies.noise_running import NoiseResult

# Inches.
_PANEL_WIDTH = 1.75
_GAP = 0.22
_ROW_HEIGHT = 0.27
_BETWEEN_NETWORKS = 0.6  # of a row

_ENDS = (-10.0, 110.0)  # of the axis in percent; intervals may reach farther
_TITLE = "What the matching gradient is made of"
_MEANINGS = {
    "data": "all agree",
    "network": "of the network alone",
    "batch": "of the batch alone",
    "interaction": "of both together",
}


def plot_noise(result: "NoiseResult", path: Path | str) -> None:
    """Draw the shares for all classes together as a PNG picture; the same numbers give the same bytes.

    Args:
        result: The numbers; what is not there has no point.
        path: The PNG file to write.

    Raises:
        InputError: The file cannot be written.
    """
    save_png(noise_figure(result), path)


def noise_figure(result: "NoiseResult") -> "Figure":
    """Draw the shares for all classes together, one panel for each part beside the other.

    Args:
        result: The numbers.

    Returns:
        The picture.
    """
    places = _places(result)
    height = (places[-1] + 1) * _ROW_HEIGHT
    figure, first = new_figure((_PANEL_WIDTH, height))
    across = 1 + _GAP / _PANEL_WIDTH
    panels = [first, *(figure.add_axes((across * x, 0, 1, 1)) for x in range(1, len(PARTS)))]
    for index, (panel, part) in enumerate(zip(panels, PARTS, strict=True)):
        _finish_panel(panel, result, places, part, named=index == 0)
        for place, variant in zip(places, variants(result), strict=True):
            entry = result.entries.get(variant)
            if entry is None or entry.all_classes is None:
                _say_nothing(panel, place)
            else:
                _plot_point(panel, place, getattr(entry.all_classes, part), index)
    _write_around(figure, len(panels))
    return figure


def _places(result: "NoiseResult") -> list[float]:
    """Give the height of each line, those of one network closer together."""
    several = len(result.variants) > 1
    return [
        index + (_BETWEEN_NETWORKS * (index // len(result.variants)) if several else 0.0)
        for index in range(len(variants(result)))
    ]


def _finish_panel(
    axes: "Axes", result: "NoiseResult", places: list[float], part: str, *, named: bool
) -> None:
    """Give a panel its axes, and its lines names where it is the first."""
    bare(axes)
    labels = [drawable(_label(result, *variant)) for variant in variants(result)]
    axes.set_ylim(places[-1] + 0.5, -0.5)
    axes.set_yticks(places, labels if named else [""] * len(labels), fontsize=FONT)
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


def _label(result: "NoiseResult", network: str, variant: str) -> str:
    """Name a line by what tells it from the others."""
    if len(result.variants) == 1:
        return network
    return variant if len(result.networks) == 1 else f"{network}, {variant}"


def _plot_point(axes: "Axes", place: float, part: "Component", index: int) -> None:
    """Draw a share with its interval."""
    style = row_style(index)
    if part.interval is not None:
        low, high = (100 * end for end in part.interval)
        axes.hlines(place, low, high, color=style["color"], linewidth=1.4)
    # A share beyond the axis is drawn at its end, not left out.
    axes.plot([min(max(100 * part.share, _ENDS[0]), _ENDS[1])], [place], markersize=5, zorder=3, **style)


def _say_nothing(axes: "Axes", place: float) -> None:
    """Say that there is no share."""
    style: Any = {"color": "#777777", "backgroundcolor": "white", "fontsize": SMALL}
    axes.text(50, place, "no number", ha="center", va="center", **style)


def _write_around(figure: "Figure", panels: int) -> None:
    """Write the title above all panels, and below them what the axes are."""
    width = panels * _PANEL_WIDTH + (panels - 1) * _GAP
    middle, height = width / _PANEL_WIDTH / 2, figure.get_figheight()
    title = wrapped(_TITLE, width, TITLE)
    figure.text(middle, 1 + 0.5 / height, title, fontsize=TITLE, ha="center", va="bottom")
    unit = "share of the expected squared length, %, with 95 % intervals"
    figure.text(middle, -0.3 / height, unit, fontsize=FONT, ha="center", va="top")
