"""Plot of gradient noise: shares as points with intervals, a panel for each part, a line for each variant."""

from math import isnan
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datacondense.reports import plotting
from datacondense.reports.layout import NOISE_HEADING
from datacondense.reports.plotting import FONT, SMALL, TITLE
from datacondense.studies.noise import PARTS, NoiseResult

_BETWEEN_NETWORKS = 0.6  # of a row
_ENDS = (-10.0, 110.0)  # of the axis in percent; intervals may extend further
_MEANINGS = {
    "data": "common to all",
    "network": "of the network alone",
    "batch": "of the batch alone",
    "interaction": "of both together",
}


def plot_noise(result: NoiseResult, path: Path | str) -> None:
    """Plot the shares for all classes together as a PNG file; the same numbers give the same bytes."""
    plotting.save_png(noise_figure(result), path)


def noise_figure(result: NoiseResult) -> Figure:
    """Return the shares for all classes together, with one panel for each part."""
    rows = result.rows
    gap = _BETWEEN_NETWORKS if len(result.variants) > 1 else 0.0
    heights = [index + gap * (index // len(result.variants)) for index in range(len(rows))]
    labels = [plotting.wrapped(_label(result, *row), 3.0) for row in rows]
    width, height = plotting.text_size(*labels)
    down = (heights[-1] + 1) * max(0.27, height + 0.1)
    figure = plotting.new_figure(1.9 * len(PARTS) + width, down + 1.4)
    lines = (line for line in result.frame.to_dict("records") if not line["class"])
    found = {(line["network"], line["variant"], line["part"]): line for line in lines}
    panels = figure.subplots(1, len(PARTS), squeeze=False)[0]
    for index, (panel, part) in enumerate(zip(panels, PARTS, strict=True)):
        plotting.list_rows(panel, heights, [""] * len(rows) if index else labels)
        panel.set_xlim(*_ENDS)
        panel.set_xticks([0, 50, 100])
        panel.set_title(f"{part}\n{_MEANINGS[part]}", fontsize=FONT)
        for y, row in zip(heights, rows, strict=True):
            _plot_point(panel, y, found.get((*row, part)), plotting.row_style(index))
    figure.suptitle(NOISE_HEADING, fontsize=TITLE)
    figure.supxlabel("share of the expected squared length, %, with 95 % intervals", fontsize=FONT)
    return figure


def _label(result: NoiseResult, network: str, variant: str) -> str:
    """Return the name of a line, without what all lines have in common."""
    if len(result.variants) == 1:
        return network
    return variant if len(result.networks) == 1 else f"{network}, {variant}"


def _plot_point(axes: Axes, y: float, found: Any, style: Any) -> None:
    """Plot a share with its interval, or write that there is none."""
    if found is None or isnan(found["share"]):
        style = {"fontsize": SMALL, "color": plotting.GREY, "backgroundcolor": "white"}
        axes.text(50, y, "no number", ha="center", va="center", **style)
        return
    if not isnan(found["low"]):
        axes.hlines(y, 100 * found["low"], 100 * found["high"], color=style["color"], linewidth=1.4)
    # A share beyond the axis is plotted at its end, not left out.
    axes.plot([min(max(100 * found["share"], _ENDS[0]), _ENDS[1])], [y], markersize=5, zorder=3, **style)
