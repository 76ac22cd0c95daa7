"""The tables of docs/speed.md, filled in by cog from the records, and how all tables of records are written.

.venv/bin/cog -I benchmarks -r README.md docs/*.md
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from math import floor, isnan, log10
from statistics import fmean, median, stdev
from typing import Any

import measure
import pandas as pd
from comparison import compare, share_of_ceiling, step_operations
from measure import Row

from datacondense.reports import layout
from datacondense.studies.statistics import mean_interval

CURVES = {"classes": "classes", "ipc": "images per class", "side": "side of the images, pixels"}
RATES = "float32 GFLOP/s | bfloat16 GFLOP/s | copy GB/s"
CURVES["stored"] = "stored real images"
SPEED = "what | seconds, datacondense | seconds, plain | times as fast (95 % interval) | pairs"
SPEED += " | peak MB, datacondense / plain"


def table(head: str, words: int = 1) -> Callable[[Callable[..., Iterable[str]]], Callable[..., str]]:
    """Return a decorator that makes a Markdown table of lines; bars separate their entries."""

    def text(lines: Callable[..., Iterable[str]], *arguments: Any) -> str:
        rows = (line.split(" | ") for line in lines(*arguments))
        return layout.table(head.split(" | "), rows, words=words)

    return lambda lines: partial(text, lines)


def sig(value: float) -> str:
    """Format with three significant digits, without exponent or lost units."""
    return f"{value:,.{max(0, 2 - floor(log10(abs(value)))) if value else 0}f}"


def interval(ends: Sequence[float] | None, form: str = ".2f", factor: float = 1) -> str:
    """Format the ends of an interval, if there is one."""
    if ends is None:
        return "no interval: too few"
    return layout.NOTHING if isnan(ends[0]) else " to ".join(format(factor * end, form) for end in ends)


def mean_std(values: Sequence[float]) -> str:
    """Format accuracies in percent; a single network has no standard deviation."""
    return layout.accuracy(100 * fmean(values), 100 * stdev(values) if len(values) > 1 else None)


def short(value: float) -> str:
    """Format a large round number in few characters."""
    size, letter = (1_000_000, " M") if value % 1_000_000 == 0 else (1_000, " k")
    return f"{value / size:g}{letter}" if value % size == 0 else f"{value:g}"


@cache
def records(*patterns: str) -> dict[str, Row]:
    """Read the records whose names match, by name."""
    found = {path.stem: path for pattern in patterns for path in measure.RESULTS.glob(f"{pattern}.json")}
    return {name: measure.read_record(found[name]) for name in sorted(found)}


def record(name: str) -> Row:
    """Read one record."""
    return records(name)[name]


def frame(name: str) -> Any:
    """Return the rows of a record as a data frame, with columns such as score.mean."""
    return pd.json_normalize(record(name)["rows"], max_level=1)


def speed(what: str, rows: Any, value: str = "seconds") -> str:
    """Return the line that compares seconds and memory of paired rows."""
    found, peaks = compare(rows, value), compare(rows, "megabytes_peak")
    fast = f"{sig(found.ours)} | {sig(found.plain)} | **{found.ratio:.2f}** ({interval(found.ends)})"
    return f"{what} | {fast} | {found.pairs} | {sig(peaks.ours)} / {sig(peaks.plain)}"


def ceiling(name: str) -> tuple[int, float]:
    """Return the operations of a matching step or a training, and their share of the ceiling at its precision."""
    of, seconds = record(name), compare(frame(name), "seconds").ours
    given, rates = of["settings"], of["ceilings"]["convolution_gflops"][of["settings"]["precision"]]
    images = given["classes"] * given.get("real_batch", given["ipc"]) * given.get("epochs", 1)
    counted = step_operations(given["shape"], given["classes"], images)
    return sum(counted.values()), share_of_ceiling(counted, rates, seconds)


@table(
    f"{SPEED} | operations | seconds at the ceiling of its precision | share of it | times as fast at most"
)
def matching_steps() -> Iterator[str]:
    for name, of in records("matching-step*", "inner-training*").items():
        given, found, (counted, share) = of["settings"], compare(frame(name), "seconds"), ceiling(name)
        what, more = "a matching step", "{real_batch} real per class"
        if "epochs" in given:
            what, more = "training between two steps", "{epochs} epochs"
        text = f"{what}; {{classes}} classes of {{0}}, {{ipc}} per class; {more}; {{precision}}"
        line = speed(text.format("×".join(map(str, given["shape"])), **given), frame(name))
        most = f"{found.plain / found.ours / share:.1f}"
        yield f"{line} | {counted / 1e9:,.0f} G | {sig(share * found.ours)} | {100 * share:.0f} % | {most}"


@table("real per class | engine | caches | first step done, s | a step, s | steps | n", words=3)
def compiled() -> Iterator[str]:
    names = ["first_step_done_seconds", "step_seconds", "steps_in_time"]
    for kind, rows in frame("compiled").groupby(["real_batch", "engine", "cache"]):
        first, step, steps = rows[names].median()
        times = f"{sig(first)} | {sig(step)} | {steps:g} in {record('compiled')['settings']['seconds']:g} s"
        yield f"{' | '.join(map(str, kind))} | {times} | {len(rows)}"


@table("what | before, s | after, s | ratio of medians | median ratio of pairs (range) | pairs")
def before_after() -> Iterator[str]:
    found = frame("before-after").pivot(index=["quantity", "pair"], columns="side", values="seconds")
    for what, sides in found.groupby("quantity"):
        (old, new), ratios = sides.median()[["before", "after"]], sides.after / sides.before
        each = f"{ratios.median():.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        yield f"{what} | {sig(old)} | {sig(new)} | {new / old:.2f} | {each} | {len(ratios)}"


@table(SPEED)
def evaluation() -> Iterator[str]:
    yield speed("an epoch of a network", frame("evaluation"), "seconds_epoch")
    yield speed("a test pass", frame("evaluation"), "seconds_test")
    yield speed("all 20 networks, **extrapolated**", frame("evaluation"), "seconds_extrapolated")


def timed_runs() -> Any:
    """Return the runs that were timed alone."""
    return frame("time-to-accuracy").dropna(subset=["score.mean"])


@table("settings | seed | seconds, median | seconds to load the data | accuracy, % | n")
def time_to_accuracy() -> Iterator[str]:
    given, runs = record("time-to-accuracy")["settings"], timed_runs()
    what = f"{given['iterations']} iterations, `{' '.join(given['set'])}`"
    for seed, group in [*runs.groupby(runs.seed.astype(int)), ("**all**", runs)]:
        seconds, loading, values = group.seconds, group.seconds_loading, group["score.accuracies"].sum()
        times = f"{sig(seconds.median())} | {sig(loading.median())}"
        yield f"{what} | {seed} | {times} | {mean_std(values)} | {len(values)}"


def state_accuracy(state: Row) -> str:
    """Format the accuracy of one state on held-out images."""
    return layout.accuracy(100 * state["accuracy"], 100 * state["std"] if state["n"] > 1 else None)


@table("settings | seed | threads | accuracy along the run")
def settings_search() -> Iterator[str]:
    state = "{iterations} iterations, {seconds:.0f} s: {0} % (n = {n})"
    for of in records("time-to-accuracy-validation-*").values():
        for row in of["rows"]:
            states = "; ".join(state.format(state_accuracy(one), **one) for one in row["curve"])
            yield f"`{' '.join(of['settings']['set'])}` | {row['seed']} | {of['hardware']['threads']} | {states}"


def differences(name: str) -> tuple[list[list[float]], list[float]]:
    """Return the accuracies of both groups, by seed of sets or by network, and the paired differences b - a."""
    found = frame(name).sort_values("seed")
    sides = [found[found.group == group] for group in "ab"]
    by_seed = [side.get("accuracy", side.get("score.mean")) for side in sides]
    if "on" not in record(name)["settings"]:
        by_seed = [side["score.accuracies"].sum() for side in sides]
    return by_seed, [b - a for a, b in zip(*by_seed, strict=True)]


def gap(changes: list[float]) -> str:
    """Format the mean difference in percentage points with its interval."""
    return interval(mean_interval([changes]), "+z.2f", 100)


@table("what | a | b | accuracy, a | accuracy, b | b - a, percentage points (95 % interval) | n", words=3)
def paired_accuracies() -> Iterator[str]:
    scoring = {"a": ["precision=float32", "engine=eager"], "b": ["precision=bfloat16", "engine=fused"]}
    for name, of in records("paired-accuracy-*", "evaluation-precision-*").items():
        given, (values, changes) = scoring | of["settings"], differences(name)
        what, n = f"evaluating {given['dataset']}", f"{len(changes)} networks"
        if "on" in given:
            what = f"condensing {given['dataset']}, {given['iterations']} iterations, "
            what += f"`{' '.join(given['set'])}`; on {given['on']}"
            n = f"{len(changes)} seeds × {given['repeats']} networks"
        groups = " | ".join(f"`{' '.join(given[group])}`" for group in "ab")
        means = " | ".join(f"{100 * fmean(one):.1f} %" for one in values)
        yield f"{what} | {groups} | {means} | **{layout.points(fmean(changes))}** ({gap(changes)}) | {n}"


@table("images | real per class | computed in | rows, mean | rows, lowest 1 % | pixels, mean | least | seeds")
def cosines() -> Iterator[str]:
    for of in records("gradient-cosine-*").values():
        found, given = pd.json_normalize(of["rows"], sep="/"), of["settings"]
        for variant in of["rows"][0]["rows"]:
            names = [f"rows/{variant}/mean", f"rows/{variant}/quantile_01", f"pixels/{variant}/mean"]
            values = [*found[names].mean(), found[f"pixels/{variant}/min"].min()]
            texts = " | ".join(f"{value:.6f}" for value in values)
            yield f"{given['dataset']} | {given['real_batch']} | {variant} | {texts} | {len(found)}"


def curve(name: str) -> Any:
    """Return the points of a curve of growth."""
    return frame("growth").query("curve == @name")


def fixed_settings(name: str) -> str:
    """Return the settings that are fixed along a curve."""
    parts = {"classes": "{classes} classes", "ipc": "{ipc} per class", "side": "{channels}×{side}×{side}"}
    parts |= {name: "{channels} channels"} if name == "side" else {name: ""}
    row = curve(name).iloc[0]
    return ", ".join(filter(None, [*parts.values(), "{real_batch} real per class"])).format(**row)


@table("what grows | fixed | seconds | peak MB | last / first: size, seconds, MB", words=2)
def growth() -> Iterator[str]:
    for name, title in CURVES.items():
        points = curve(name)[[name, "seconds", "megabytes_peak"]]
        times = " / ".join(f"{sig(ratio)}×" for ratio in points.iloc[-1] / points.iloc[0])
        sizes = list(map(short, points.pop(name)))
        texts = (", ".join(map("{}: {}".format, sizes, map(sig, points[key]))) for key in points)
        yield f"{title} | {fixed_settings(name)} | {' | '.join(texts)} | {times}"


@table(f"{SPEED} | same images as plain")
def selection() -> Iterator[str]:
    for (method, ipc), rows in frame("selection").groupby(["method", "ipc"]):
        equal = "yes" if rows.selected.nunique() == 1 else "no"
        yield f"{speed(f'{method}, {ipc} per class', rows)} | {equal}"


@table("target | measured | ", words=3)
def targets() -> Iterator[str]:
    def fast(name: str, least: float, value: str = "seconds") -> tuple[str, bool]:
        found = compare(frame(name), value)
        return f"{found.ratio:.2f} times ({interval(found.ends)})", found.ratio >= least

    def no_cost(name: str) -> tuple[str, bool]:
        changes = differences(name)[1]
        return f"{layout.points(fmean(changes))} points ({gap(changes)})", mean_interval([changes])[1] >= 0

    def within(limit: float, values: Sequence[float], unit: str = "s") -> tuple[str, bool]:
        return f"{sig(median(values))} {unit} (n = {len(values)})", median(values) <= limit

    runs, starts, share = timed_runs(), frame("startup").query("run > 0"), 100 * ceiling("matching-step")[1]
    seconds, values, bound = (
        runs.seconds.median(),
        runs["score.accuracies"].sum(),
        f"{share:.0f} %, a lower bound",
    )
    reached, accurate = f"{sig(seconds)} s, {mean_std(values)} % (n = {len(values)})", fmean(values) >= 0.91
    checked = {
        "a matching step 5 times as fast as plain": fast("matching-step", 5),
        "training between two steps 2.5 times as fast": fast("inner-training", 2.5),
        "20 evaluations 3 times as fast": fast("evaluation", 3, "seconds_extrapolated"),
        "aim: a matching step at 75 % of the bfloat16 ceiling": (bound, share >= 75),
        "MNIST, 1 image per class, at 91 % within 60 s": (reached, accurate and seconds <= 60),
        "aim: the same within 30 s": (reached, accurate and seconds <= 30),
        "fast engine costs no accuracy: MNIST": no_cost("paired-accuracy-mnist"),
        "fast engine costs no accuracy: CIFAR-10": no_cost("paired-accuracy-cifar10"),
        "200 classes, 10 images each, 64×64, within 4 GiB": within(4096, curve("limit").megabytes_peak, "MB"),
        "`datacondense --help` within 0.3 s": within(0.3, starts["seconds"]),
        "`datacondense condense --help` within 1 s": within(1, starts["kept"]),
        "the same the first time, with torch to load": within(1, starts["first"]),
    }
    for what, (text, met) in checked.items():
        yield f"{what} | {text} | {'met' if met else '**missed**'}"


@table("transform | B = 256 | B = 16")
def transform_steps() -> Iterator[str]:
    ratios = frame("transform-step").groupby(["transform", "real_batch"], sort=False).ratio
    found = ratios.quantile([0.5, 0.25, 0.75]).unstack()
    texts = found.apply(lambda ends: "{:.2f} ({:.2f}–{:.2f})".format(*ends), axis=1)
    texts = texts.where(found[0.5] <= 1.25, "**" + texts + "**").unstack()
    for name in dict.fromkeys(frame("transform-step")["transform"]):
        yield f"`{name}` | {texts.loc[name, 256]} | {texts.loc[name, 16]}"


@table("processes | seconds a step | times as fast as one | processor seconds of the first | pairs", words=0)
def ranks() -> Iterator[str]:
    rows = frame("ranks").set_index("pair")
    alone = rows[rows["processes"] == 1]
    for number, own in rows.groupby("processes"):
        times = (alone["seconds"] / own["seconds"]).median()
        seconds, processor = own["seconds"].median(), own["processor_seconds"].median()
        yield f"{number} | {sig(seconds)} | **{times:.2f}** | {sig(processor)} | {len(own)}"


def measurements() -> dict[str, Row]:
    """Read the records of the harness."""
    return {name: of for name, of in records("*").items() if "ceilings" in of}


@table(f"record | date | processor | threads of cores | torch, Python | {RATES} | load | commits", words=3)
def machines() -> Iterator[str]:
    line = "[{0}](../benchmarks/results/{0}.json) | {date} | {hardware[processor]} | {hardware[threads]} of "
    line += "{hardware[cores]} | {versions[torch]}, {versions[python]} | {1} | {2} | "
    line += "{ceilings[copy_gigabytes_per_second]:.1f} | {3:.1f} to {4:.1f} | {5}"
    for name, of in measurements().items():
        kinds = (of["ceilings"]["convolution_gflops"][kind].values() for kind in ("float32", "bfloat16"))
        rates = (" / ".join(f"{rate:.0f}" for rate in kind) for kind in kinds)
        loads = [row["load_before"] for row in of["rows"]]
        yield line.format(name, *rates, min(loads), max(loads), ", ".join(of["commits"]), **of)


def commands(found: dict[str, Row]) -> str:
    """Return the commands that repeat some records."""
    return "\n".join(["```bash", *dict.fromkeys(of["command"] for of in found.values()), "```"])
