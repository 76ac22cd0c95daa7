"""Numbers, tables, targets and the growth plot of docs/speed.md."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import floor, log10
from pathlib import Path
from statistics import median
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
SPEED_HEAD = (
    "what | seconds, datacondense | seconds, plain | times as fast (95 % interval) | pairs | operations | "
    "share of the bfloat16 ceiling | peak MB, datacondense / plain"
)
# Two colours of Okabe and Ito, distinguishable with every kind of colour vision; the markers differ too.
_SECONDS, _MEGABYTES = "#0072B2", "#D55E00"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "lines.markersize": 5,
}


def number(value: float) -> str:
    """Format with three significant digits, without exponent or lost units."""
    return f"{value:,.{max(0, 2 - floor(log10(abs(value)))) if value else 0}f}"


def interval(bounds: Sequence[float] | None, factor: float = 1, form: str = "{:.2f}") -> str:
    """Format an interval, if there is one."""
    if bounds is None:
        return "no interval: too few"
    return " to ".join(form.format(factor * bound) for bound in bounds)


def percent(score: Row) -> str:
    """Format an accuracy with the standard deviation over networks, where there is one."""
    spread = "" if score["n"] == 1 or score["std"] is None else f"±{100 * score['std']:.1f}"
    return f"{100 * score['mean']:.1f}{spread} % (n = {score['n']})"


def curve_point(entry: Row) -> str:
    """Format one point of an accuracy curve."""
    score = percent({"mean": entry["accuracy"], **entry})
    return f"{entry['iterations']} iterations, {entry['seconds']:.0f} s: {score}"


def agree(one: Row, other: Row) -> bool:
    """Whether the settings that both have are equal; older records lack later settings."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def table(head: str, rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; empty without rows."""
    columns = head.count("|") + 1
    body = ("| " + " | ".join(map(str, row)) + " |\n" for row in rows)
    return f"| {head} |\n|{'---|' * columns}\n{''.join(body)}" if rows else ""


def short(value: float) -> str:
    """Format a large round number in few characters."""
    size, letter = (1_000_000, " M") if value % 1_000_000 == 0 else (1_000, " k")
    return f"{value / size:g}{letter}" if value % size == 0 else f"{value:g}"


def fixed_settings(row: Row) -> str:
    """Return the settings that are fixed along a curve."""
    image = (
        f"{row['channels']} channels" if row["curve"] == "side" else "{channels}×{side}×{side}".format(**row)
    )
    parts = {"classes": f"{row['classes']} classes", "ipc": f"{row['ipc']} per class"}
    kept = [part for name, part in parts.items() if name != row["curve"]]
    return ", ".join([*kept, image, f"{row['real_batch']} real per class"])


def growth_row(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the table row of one curve: its points and the ratio of its ends."""
    points = sorted((row for row in rows if row["curve"] == name), key=lambda row: int(row[name]))
    keys = (name, "seconds", "megabytes_peak")
    values = [", ".join(f"{short(p[name])}: {number(p[key])}" for p in points) for key in keys[1:]]
    times = [f"{number(points[-1][key] / points[0][key])}×" for key in keys]
    return [CURVES[name], fixed_settings(points[0]), *values, " / ".join(times)]


def difference_row(what: str, groups: list[str], means: list[float], difference: Row, unit: str) -> list[str]:
    """Return the table row of two groups: accuracies and mean difference in percentage points."""
    within = interval(difference["interval_95"], 100, "{:+.2f}")
    accuracies = [f"{100 * mean:.1f} %" for mean in means]
    gap = f"**{100 * difference['mean']:+.2f}** ({within})"
    return [what, *(f"`{group}`" for group in groups), *accuracies, gap, f"{difference['n']} {unit}"]


def speed_row(what: str, times: Row, memory: Row | None, summary: Row) -> list[str]:
    """Return the table row that compares seconds, with operations and memory where recorded."""
    ratio, operations = times["ratio"], summary.get("operations")
    share = summary.get("share_of_ceiling", {}).get("bfloat16")
    return [
        what,
        *(number(times[side]["median"]) for side in ("datacondense", "plain")),
        f"**{ratio['median']:.2f}** ({interval(ratio['median_interval_95'])})",
        str(ratio["n"]),
        f"{sum(operations.values()) / 1e9:,.0f} G" if operations else "–",
        f"{100 * share:.0f} %" if share is not None else "–",
        " / ".join(number(memory[side]["median"]) for side in ("datacondense", "plain")) if memory else "–",
    ]


def speed_sentence(what: str, times: Row) -> str:
    """Return the sentence that compares two times."""
    ours, plain = (number(times[side]["median"]) for side in ("datacondense", "plain"))
    ratio, within = times["ratio"], interval(times["ratio"]["median_interval_95"])
    return f"{what}: {ours} s, plain {plain} s, **{ratio['median']:.2f} times as fast** ({within}; n = {ratio['n']}).\n"


def profile_rows(table: list[str], largest: int = 8) -> list[list[str]]:
    """Return names, shares, times and calls from a table of torch's profiler.

    Columns are separated by two or more spaces; the totals below have fewer columns.
    """
    split = [re.split(r"\s{2,}", line.strip()) for line in table]
    head = next(line for line in split if line[0] == "Name")
    wanted = [head.index(name) for name in ("Name", "Self CPU %", "Self CPU", "# of Calls")]
    lines = [
        line for line in split if len(line) == len(head) and line != head and not line[0].startswith("--")
    ]
    return [[line[column] for column in wanted] for line in lines[:largest]]


def target_rows(records: dict[str, Row]) -> list[list[str]]:
    """Return the table of targets and measurements; a missed target is bold."""
    targets: list[tuple[str, str, Callable[[Row], tuple[str, bool] | None]]] = [
        ("a matching step 5 times as fast as plain", "matching-step", lambda s: _ratio(s["seconds"], 5)),
        (
            "training between two steps 2.5 times as fast",
            "inner-training",
            lambda s: _ratio(s["seconds"], 2.5),
        ),
        ("20 evaluations 3 times as fast", "evaluation", lambda s: _ratio(s["seconds_extrapolated"], 3)),
        ("aim: a matching step at 75 % of the bfloat16 ceiling", "matching-step", _share),
        ("MNIST, 1 image per class, at 91 % within 60 s", "time-to-accuracy", lambda s: _in_time(s, 60)),
        ("aim: the same within 30 s", "time-to-accuracy", lambda s: _in_time(s, 30)),
        ("fast engine costs no accuracy: MNIST", "paired-accuracy-mnist", _no_cost),
        ("fast engine costs no accuracy: CIFAR-10", "paired-accuracy-cifar10", _no_cost),
        ("200 classes, 10 images each, 64×64, within 4 GiB", "growth", _memory),
        ("`datacondense --help` within 0.3 s", "startup", lambda s: _within(s["seconds"], 0.3, "s")),
        ("`datacondense condense --help` within 1 s", "startup", lambda s: _within(s["kept"], 1, "s")),
        ("the same the first time, with torch to load", "startup", lambda s: _within(s["first"], 1, "s")),
    ]
    rows = []
    for what, name, check in targets:
        checked = check(records[name]["summary"]) if name in records else None
        text, met = checked or ("–", None)
        rows.append([what, text, {True: "met", False: "**missed**", None: "not measured yet"}[met]])
    return rows


def _ratio(times: Row, least: float) -> tuple[str, bool]:
    """Compare a median ratio with its target, noting an interval that begins below it."""
    ratio, bounds = times["ratio"]["median"], times["ratio"]["median_interval_95"]
    doubt = ", begins below the target" if bounds and bounds[0] < least <= ratio else ""
    return f"{ratio:.2f} times ({interval(bounds)}{doubt})", ratio >= least


def _no_cost(summary: Row) -> tuple[str, bool] | None:
    """Check that the interval of the difference contains zero or lies above it."""
    difference = summary["difference_b_minus_a"]
    if difference["interval_95"] is None:
        return None
    mean, low, high = (100 * value for value in (difference["mean"], *difference["interval_95"]))
    return f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})", high >= 0


def _share(summary: Row) -> tuple[str, bool]:
    share = summary["share_of_ceiling"]["bfloat16"]
    return f"{100 * share:.0f} %, a lower bound", share >= 0.75


def _within(values: list[float], limit: float, unit: str) -> tuple[str, bool]:
    return f"{number(median(values))} {unit} (n = {len(values)})", median(values) <= limit


def _memory(summary: Row) -> tuple[str, bool] | None:
    return _within([summary["limit"]["megabytes_peak"]], 4096, "MB") if "limit" in summary else None


def _in_time(summary: Row, limit: float) -> tuple[str, bool] | None:
    if "accuracy" not in summary:
        return None
    seconds, score = summary["seconds"]["median"], summary["accuracy"]
    return f"{number(seconds)} s, {percent(score)}", seconds <= limit and score["mean"] >= 0.91


def plot_growth(rows: list[Row], path: Path) -> None:
    """Plot one column per curve: seconds above, memory below; the bytes depend only on rows and matplotlib."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels: list[list[Axes]] = figure.subplots(2, len(CURVES), sharex="col").tolist()
        for column, name in enumerate(CURVES):
            of_curve = sorted((row for row in rows if row["curve"] == name), key=lambda row: int(row[name]))
            _plot_column(panels[0][column], panels[1][column], name, of_curve)
        panels[0][0].set_ylabel("seconds per step")
        panels[1][0].set_ylabel("memory, MB")
        panels[1][0].legend(loc="lower right")
        figure.align_ylabels()
        # By default the PNG names the program that wrote it.
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def _plot_column(above: Axes, below: Axes, name: str, rows: list[Row]) -> None:
    """Plot one curve."""
    below.set_xlabel(CURVES[name])
    if not rows:
        above.set_title("not measured yet", fontsize=8)
        return
    values = [row[name] for row in rows]
    kept = fixed_settings(rows[0]).split(", ")
    above.set_title(", ".join(kept[:-1]) + f"\n{kept[-1]}", fontsize=8, color="#555555")
    above.plot(values, [row["seconds"] for row in rows], "o-", color=_SECONDS, clip_on=False)
    peaks = [row["megabytes_peak"] for row in rows]
    below.plot(values, peaks, "s-", color=_MEGABYTES, label="peak", clip_on=False)
    if all("megabytes_before" in row for row in rows):
        before = [row["megabytes_before"] for row in rows]
        below.plot(values, before, "--", color="#777777", label="before the first step")
    for axes in (above, below):
        axes.margins(y=0.1)
        axes.set_ylim(bottom=0)
    _set_values_axis(below, values)


def _set_values_axis(axes: Axes, values: list[int]) -> None:
    """Set ticks at the measured values, on a logarithmic axis if they are far apart."""
    logarithmic = values[-1] >= 100 * values[0]
    if logarithmic:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.04 * values[-1])
    steps = [after - value for value, after in pairwise(values)]
    wide = [
        value for value, step in zip(values, steps, strict=False) if step > 0.08 * values[-1] or logarithmic
    ]
    axes.xaxis.set_major_locator(FixedLocator([*wide, values[-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
