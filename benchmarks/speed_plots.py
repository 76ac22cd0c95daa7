"""Draws how a matching step's seconds and memory grow, and reads a profiler's table, for the page about speed."""

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from datacondense.files import replacing

Row = dict[str, Any]

CURVES = {
    "classes": "classes",
    "ipc": "images per class",
    "side": "side of the images, pixels",
    "stored": "stored real images",
}
# Two of Okabe and Ito's colours, told apart with every kind of colour vision; the line styles differ too.
_SECONDS, _MEGABYTES = "#0072B2", "#D55E00"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "lines.markersize": 5,
}


def draw_growth(rows: list[Row], path: Path) -> None:
    """Draw one column per curve, seconds above and memory below, all from zero.

    The picture's bytes depend on the rows and on matplotlib's version only.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels: list[list[Axes]] = figure.subplots(2, len(CURVES), sharex="col").tolist()
        for column, name in enumerate(CURVES):
            of_curve = sorted((row for row in rows if row["curve"] == name), key=lambda row: int(row[name]))
            _draw_column(panels[0][column], panels[1][column], name, of_curve)
        panels[0][0].set_ylabel("seconds per step")
        panels[1][0].set_ylabel("memory, MB")
        panels[1][0].legend(loc="lower right")
        figure.align_ylabels()
        # The picture's own format would note the program that made it.
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def _draw_column(above: Axes, below: Axes, name: str, rows: list[Row]) -> None:
    """Draw one curve."""
    below.set_xlabel(CURVES[name])
    if not rows:
        above.text(0.5, 0.5, "not measured yet", ha="center", transform=above.transAxes)
        return
    values = [row[name] for row in rows]
    above.set_title(fixed_settings(rows[0]).replace("; ", "\n"), fontsize=8, color="#555555")
    above.plot(values, [row["seconds"] for row in rows], "o-", color=_SECONDS, clip_on=False)
    peaks = [row["megabytes_peak"] for row in rows]
    below.plot(values, peaks, "s-", color=_MEGABYTES, label="peak", clip_on=False)
    if all("megabytes_before" in row for row in rows):
        before = [row["megabytes_before"] for row in rows]
        below.plot(values, before, "--", color="#777777", label="before the first step")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.margins(y=0.1)
    _set_values_axis(below, values)


def _set_values_axis(axes: Axes, values: list[int]) -> None:
    """Mark the measured values; far apart, they stand on a logarithmic axis."""
    if max(values) >= 100 * min(values):
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, max(values))
    crowded = [
        value
        for value, after in zip(values, [*values[1:], None], strict=True)
        if after is None or axes.get_xscale() == "log" or after - value > 0.08 * max(values)
    ]
    axes.xaxis.set_major_locator(FixedLocator(crowded))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """Write a large round number in few characters."""
    for size, letter in ((1_000_000, " M"), (1_000, " k")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def fixed_settings(row: Row) -> str:
    """Name what stays the same along a curve."""
    known = {**row, "side": None if row["curve"] == "side" else row["side"]}
    shape = f"{known['channels']}×{known['side']}×{known['side']}" if known["side"] else None
    parts = [
        None if row["curve"] == "classes" else f"{row['classes']} classes",
        None if row["curve"] == "ipc" else f"{row['ipc']} per class",
    ]
    images = [shape or f"{row['channels']} channels", f"{row['real_batch']} real per class"]
    return "; ".join([", ".join(part for part in parts if part), ", ".join(images)])


def profile_rows(table: list[str], largest: int = 8) -> list[list[str]]:
    """Read names, shares, times and calls from a table of torch's profiler.

    Columns stand two spaces or more apart, and rules of dashes separate them from the head and from the sums.
    """
    split = [re.split(r"\s{2,}", line.strip()) for line in table if line.strip()]
    lines = [line for line in split if not line[0].startswith("---")]
    heads = [number for number, line in enumerate(lines) if line[0] == "Name"]
    if not heads:
        return []
    head = lines[heads[0]]
    wanted = [head.index(name) for name in ("Name", "Self CPU %", "Self CPU", "# of Calls") if name in head]
    body = [line for line in lines[heads[0] + 1 :] if len(line) == len(head)]
    return [[line[column] for column in wanted] for line in body[:largest]]
