"""The tables of accuracies in README.md and docs/results.md, filled in by cog from the records."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import pandas as pd
from measure import Row
from tables import mean_std, record, records, sig, state_accuracy, table, timed_runs

from datacondense.reports.layout import NOTHING, accuracy
from datacondense.studies.published import published_table, shown

SETTINGS = ["source.name", *(f"method.{name}" for name in ("ipc", "real_batch", "image_lr", "precision"))]
SETTINGS += ["run.iterations", "run.time_limit"]
SETTING, GIVEN = "data set | images per class", "real batch, image lr, precision"


def published(dataset: str, ipc: int) -> str:
    """Return the published accuracy of gradient matching."""
    found = published_table("comparison", dataset, "plain")[0].get(("gradient-matching", str(ipc)))
    return accuracy(*found) if found else NOTHING


def runs(kind: str) -> Iterator[Row]:
    """Yield the runs of some records; earlier records hold one run each, later ones a row for each."""
    for of in records(f"{kind}-*").values():
        yield from ({**of, **row} for row in of.get("rows", [of]))


def alike() -> Any:
    """Return the scored runs, those of equal settings together."""
    return pd.json_normalize(list(runs("accuracy")), max_level=1).groupby(SETTINGS, dropna=False)


@table(
    f"{SETTING} | accuracy | n | mean of each seed | published | iterations | {GIVEN} | seconds to condense"
)
def test_accuracies() -> Iterator[str]:
    for (name, ipc, batch, lr, precision, *_), group in alike():
        values, means = group["score.accuracies"].sum(), zip(group.seed, group["score.mean"], strict=True)
        each = ", ".join(f"{seed}: {100 * mean:.1f}" for seed, mean in means)
        done = ", ".join(f"{one:g}" for one in sorted(set(group.iterations_done)))
        score = f"**{mean_std(values)}** | {len(values)} | {each} | {published(name, ipc)}"
        seconds = ", ".join(f"{one:.0f}" for one in group.condensing_seconds)
        yield f"{name} | {ipc} | {score} | {done} | {batch}, {lr:g}, {precision} | {seconds}"


@table("data set | accuracy % | n | published (1000 iterations) | iterations here | seconds to condense")
def overview() -> Iterator[str]:
    given, each = record("time-to-accuracy")["settings"], timed_runs().seconds
    seconds = f"{fmean(each):.0f} ({', '.join(f'{one:.0f}' for one in each)})"
    found = [(given["dataset"], timed_runs(), given["iterations"], seconds)]
    for (name, ipc, *_), group in reversed(list(alike())):
        found += [(name, group, f"{group.iterations_done.iloc[0]:g}", NOTHING)] * (ipc == 1)
    for name, group, iterations, taken in found:
        values, n = group["score.accuracies"].sum(), f"{len(group)} seed{'s' * (len(group) > 1)}"
        n += f" × {group['score.n'].iloc[0]:.0f} networks"
        yield f"{shown(name)} | {mean_std(values)} | {n} | {published(name, 1)} | {iterations} | {taken}"


def plain_loop() -> str:
    """Return the sentence on what the plain loop would take."""
    (row,) = (row for row in record("time-to-accuracy")["rows"] if "plain_iterations" in row)
    text = "At the published settings, the plain loop takes {seconds:.2f} s a step on that machine (median of {0});\n"
    text += (
        "1000 iterations of one step would take {1} s, **extrapolated**, without the training between steps."
    )
    return text.format(row["plain_iterations"], sig(1000 * row["seconds"]), **row)


@table(f"{SETTING} | start | ς | image lr | seed | accuracy after iterations")
def validations() -> Iterator[str]:
    for run in runs("validation"):
        states = (f"{done}: {state_accuracy(v)} (n={v['n']})" for done, v in run["validations"].items())
        given = (run["method"][name] for name in ("ipc", "start", "network_epochs", "image_lr"))
        yield " | ".join(map(str, [run["source"]["name"], *given, run["seed"], ", ".join(states)]))


@table(f"{SETTING} | image lr | iterations | seed | measured on | accuracies | why")
def stopped() -> Iterator[str]:
    for run in record("stopped-runs")["runs"]:
        seen = ", ".join(f"{100 * value:.1f}" for value in run["accuracies"])
        given = (run[name] for name in ("dataset", "ipc", "image_lr", "iterations", "seed", "tested_on"))
        yield " | ".join(map(str, [*given, seen, run["why"]]))


@table(
    "classes | images per class | image side | real batch | MB before the run | MB at the peak | MB of the sets"
)
def memory() -> Iterator[str]:
    for row in (row for of in records("memory*").values() for row in of["rows"]):
        sizes = f"{row['classes']} | {row['ipc']} | {row.get('side', 32)} | {row['real_batch']}"
        yield " | ".join([sizes, *(f"{row[f'megabytes_{when}']:.0f}" for when in ("before", "peak", "sets"))])


@table("record | date | processor | cores per run | torch, Python", words=5)
def hardware() -> Iterator[str]:
    line = "[{0}](../benchmarks/results/{0}.json) | {date} | {hardware[processor]} | {hardware[threads]} of "
    line += "{hardware[cores]} | {versions[torch]}, {versions[python]}"
    for name, of in records("accuracy-*", "validation-*", "stopped-runs", "memory*").items():
        yield line.format(
            name, **of | {"hardware": dict.fromkeys(("processor", "threads"), NOTHING) | of["hardware"]}
        )
