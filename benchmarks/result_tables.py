"""The tables of accuracies in README.md and docs/results.md, filled in by cog from the records."""

from collections.abc import Iterator
from itertools import groupby
from statistics import fmean
from typing import Any

from measure import Row
from tables import accuracies, mean_std, record, records, scored, sig, state_accuracy, table

from datacondense.reports.layout import NOTHING, accuracy
from datacondense.studies.published import published_table, shown


def published(dataset: str, ipc: int) -> str:
    """Return the published accuracy of gradient matching."""
    found = published_table("comparison", dataset, "plain")[0].get(("gradient-matching", str(ipc)))
    return accuracy(*found) if found else NOTHING


def runs(kind: str) -> Iterator[Row]:
    """Yield the runs of some records; earlier records hold one run each, later ones a row for each."""
    for of in records(f"{kind}-*").values():
        yield from ({**of, **row} for row in of.get("rows", [of]))


def settings(run: Row) -> tuple[Any, ...]:
    """Return what runs with different seeds have in common."""
    method, limits = run["method"], (run["run"]["iterations"], run["run"]["time_limit"] or "")
    names = ("ipc", "real_batch", "image_lr", "precision")
    return run["source"]["name"], *(method[name] for name in names), *limits


def alike() -> list[tuple[tuple[Any, ...], list[Row]]]:
    """Return settings and scored runs, those of equal settings together."""
    grouped = groupby(sorted(runs("accuracy"), key=settings), settings)
    return [(given, list(group)) for given, group in grouped]


def test_accuracies() -> str:
    """Return the table of test accuracies, one row per data set and settings."""
    lines = []
    for (name, ipc, batch, lr, precision, *_), group in alike():
        values, done = accuracies(group), sorted({run["iterations_done"] for run in group})
        each = ", ".join(f"{run['seed']}: {100 * run['score']['mean']:.1f}" for run in group)
        score = f"**{mean_std(values)}** | {len(values)} | {each} | {published(name, ipc)}"
        given = f"{', '.join(f'{one:g}' for one in done)} | {batch}, {lr:g}, {precision}"
        seconds = ", ".join(f"{run['condensing_seconds']:.0f}" for run in group)
        lines.append(f"{name} | {ipc} | {score} | {given} | {seconds}")
    head = "data set | images per class | accuracy | n | mean of each seed | published | iterations"
    return table(f"{head} | real batch, image lr, precision | seconds to condense", lines)


def overview() -> str:
    """Return README's table of accuracies at one image per class."""
    of = record("time-to-accuracy")
    each, given = [row["seconds"] for row in scored(of)], of["settings"]
    seconds = f"{fmean(each):.0f} ({', '.join(f'{one:.0f}' for one in each)})"
    found = [(given["dataset"], scored(of), given["iterations"], seconds)]
    for (name, ipc, *_), group in sorted(alike(), key=lambda one: one[0][0], reverse=True):
        found += [(name, group, f"{group[0]['iterations_done']:g}", NOTHING)] * (ipc == 1)
    lines = []
    for name, group, iterations, taken in found:
        n = f"{len(group)} {'seed' if len(group) == 1 else 'seeds'} × {group[0]['score']['n']} networks"
        score = f"{mean_std(accuracies(group))} | {n} | {published(name, 1)}"
        lines.append(f"{shown(name)} | {score} | {iterations} | {taken}")
    head = "data set | accuracy % | n | published (1000 iterations) | iterations here | seconds to condense"
    return table(head, lines)


def plain_loop() -> str:
    """Return the sentence on what the plain loop would take."""
    (row,) = (row for row in record("time-to-accuracy")["rows"] if "plain_iterations" in row)
    return (
        f"At the published settings, the plain loop takes {row['seconds']:.2f} s a step on that machine (median of "
        f"{row['plain_iterations']});\n1000 iterations of one step would take {sig(1000 * row['seconds'])} s, "
        "**extrapolated**, without the training between steps."
    )


def validations() -> str:
    """Return the table of accuracies on held-out training images by iterations."""
    names, lines = ("ipc", "start", "network_epochs", "image_lr"), []
    for run in runs("validation"):
        states = [f"{done}: {state_accuracy(v)} (n={v['n']})" for done, v in run["validations"].items()]
        given = [
            run["source"]["name"],
            *(run["method"][name] for name in names),
            run["seed"],
            ", ".join(states),
        ]
        lines.append(" | ".join(map(str, given)))
    return table(
        "data set | images per class | start | ς | image lr | seed | accuracy after iterations", lines
    )


def stopped() -> str:
    """Return the table of stopped runs, so that every accuracy seen is reported."""
    line, lines = "{dataset} | {ipc} | {image_lr} | {iterations} | {seed} | {tested_on} | {seen} | {why}", []
    for run in record("stopped-runs")["runs"]:
        lines.append(line.format(**run, seen=", ".join(f"{100 * value:.1f}" for value in run["accuracies"])))
    head = "data set | images per class | image lr | iterations | seed | measured on | accuracies | why"
    return table(head, lines)


def memory() -> str:
    """Return the table of peak memory by classes."""
    line = "{classes} | {ipc} | {side} | {real_batch} | {megabytes_before:.0f} | {megabytes_peak:.0f} | "
    line += "{megabytes_sets:.0f}"
    lines = [line.format(**{"side": 32, **row}) for of in records("memory*").values() for row in of["rows"]]
    head = "classes | images per class | image side | real batch | MB before the run | MB at the peak"
    return table(f"{head} | MB of the sets", lines)


def hardware() -> str:
    """Return the hardware and versions of the accuracies."""
    line = (
        "- {date}, {hardware[processor]}, {hardware[threads]} of {hardware[cores]} cores per run, torch "
        "{versions[torch]}, Python {versions[python]}"
    )
    return "\n".join(sorted({line.format(**of) for of in records("accuracy-*", "validation-*").values()}))
