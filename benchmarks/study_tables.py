"""The tables of the docs on studies and on gradient noise, filled in by cog from the records.

`python benchmarks/study_tables.py` writes the plots of all records to docs/.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from tables import interval, record, records, table

from datacondense.reports.continual_page import last_stage_part, read_continual_record
from datacondense.reports.layout import NOTHING, accuracy, number, points
from datacondense.reports.noise_page import noise_markdown
from datacondense.reports.records import read_noise_record, read_study_record
from datacondense.reports.study_page import markdown
from datacondense.studies.published import published_table, shown
from datacondense.studies.results import StudyResult

DOCS = Path(__file__).parents[1] / "docs"
WITHIN = 2  # published standard deviations
ORDER = ("cross-architecture", "activation", "pooling", "norm", "distance", "ipc")
NOISE_AWARE = ("noise-aware", "representatives", "masks", "teacher")
SEVERAL_NETWORKS = {"cross-architecture", "distance", "representatives", "teacher"}
WHAT, IPC = "data set, network", "images per class"
BOTH = "class-collective, iterate averaging"
MADE = "{date}, {hardware[processor]}, {hardware[cores]} cores, {hardware[threads]} thread(s) per task; {tasks} tasks, "
MADE += "{task_hours:.1f} core hours, beside other work"
noise = cache(lambda stem: read_noise_record(record(stem)))
continual = cache(lambda stem: read_continual_record(record(stem)))


def stems(*kinds: str, dataset: str = "") -> list[str]:
    """Return the names of the records of some studies; the shortest names are those of the largest tables."""
    return [stem for kind in kinds for stem in sorted(records(f"study-{kind}-{dataset}*"), key=len)]


@cache
def study(stem: str) -> StudyResult:
    """Return the numbers of a study; a record without a subject gets it from its command."""
    values = record(stem)
    result, dataset = read_study_record(values), Path(shlex.split(values["command"])[3]).stem
    found = result.study
    if not found.subject:
        network = ", LeNet" if found.name == "distillation" else ", ConvNet"
        found = replace(found, subject=shown(dataset) + network * (found.name not in SEVERAL_NETWORKS))
    if found.name == "cross-architecture" and not found.published:  # a study in a file has none of its own
        printed, source = published_table(found.name, dataset)
        kept = {entry: value for entry, value in printed.items() if entry in result.table.index}
        found = replace(found, published=kept, source=source)
    return replace(result, study=found)


def sections(*names: str) -> str:
    """Return a section for each record: how it was made, its plot, its tables."""
    parts = []
    for stem in names:
        made, file = MADE.format_map(record(stem)), f"benchmarks/results/{stem}.json"
        facts = {**record(stem)["facts"], "Made": made, "Record": file}
        if stem.startswith("noise-"):
            text = noise_markdown(noise(stem), facts, picture=f"{stem}.png", by_class=False)
            text = text.replace("\n", f": {place(stem)}\n", 1)
        elif stem.startswith("continual-"):
            found = continual(stem)
            text = markdown(found.means, facts, picture=f"{stem}.png", parts=[last_stage_part(found)])
        else:
            text = markdown(study(stem), facts, picture=f"{stem}.png")
        parts.append(re.sub("^#", "##", text, flags=re.MULTILINE))
    return "\n".join(parts)


@table("memory | stage 1 | stage 2 | stage 3")
def figure_4() -> Iterator[str]:
    entries, _ = published_table("continual", "svhn-mnist-usps")
    for row in dict.fromkeys(row for row, _ in entries):
        yield " | ".join([row, *(accuracy(*entries[row, stage]) for stage in "123")])


@table("ordering | better - worse, points | 95 % interval | n (sets × networks) | verdict")
def orderings() -> Iterator[str]:
    for stem in stems(*ORDER, dataset="mnist"):
        for claim in study(stem).claims.itertuples():
            difference = f"{points(claim.difference)} | {ends(claim)}"
            yield f"{claim.text} | {difference} | {claim.size} | {claim.verdict}"


@table(f"{WHAT} | row | column | iterations | ours, % (n, sets) | published, % | difference | verdict", 3)
def against(*names: str) -> Iterator[str]:
    for result in map(study, names):
        for entry, printed in result.study.published.items():
            if entry in result.table.index and (found := result.table.loc[entry]).n:
                difference = 100 * found["mean"] - printed.mean
                verdict = "above" if difference > 0 else "below"
                if printed.std is not None and abs(difference) <= WITHIN * printed.std:
                    verdict = "within"
                own = f"{number(found.iterations, 'g', NOTHING)} | {percent(found)} ({found.n}, {found.sets})"
                numbers = f"{accuracy(*printed)} | {difference:+.1f} | {verdict}"
                yield f"{result.study.subject} | {' | '.join(entry)} | {own} | {numbers}"


@table(f"{WHAT} | {IPC} | with them, % | without, % | published, %", words=2)
def forgetting() -> Iterator[str]:
    for result in map(study, stems("comparison")):
        for column in result.study.columns:
            entries = [(row, column) for row in ("forgetting", "forgetting-learned")]
            printed = result.study.published.get(entries[0])
            if printed and all(entry in result.table.index for entry in entries):
                own = " | ".join(percent(result.table.loc[entry]) for entry in entries)
                yield f"{result.study.subject} | {column} | {own} | {accuracy(*printed)}"


def on_both(kind: str) -> list[tuple[str, StudyResult]]:
    """Return a study on each data set."""
    return [(shown(name), study(f"study-{kind}-{name}-ipc1")) for name in ("cifar10", "mnist")]


@table("data set | variant | column | accuracy, % | iterations | n (sets × networks)", words=3)
def accuracies(kind: str, *entries: tuple[str, str]) -> Iterator[str]:
    for (name, result), entry in product(on_both(kind), entries):
        found = result.table.loc[entry]
        iterations = number(found.iterations, ".0f", NOTHING)
        yield f"{name} | {' | '.join(entry)} | {percent(found)} | {iterations} | {found['size']}"


@table("data set | variant | column | difference, points | 95 % interval | n | verdict", words=3)
def differences(kind: str) -> Iterator[str]:
    for name, result in on_both(kind):
        for entry, found in result.differences.iterrows():
            size = f"{found.n} on {found.sets} sets"
            line = f"{name} | {' | '.join(entry)} | {points(found.difference)} | {ends(found)}"
            yield f"{line} | {size} | {found.verdict}"


@table("data set | entries | of them | accuracy, % | of the accuracy with all", words=3)
def masks() -> Iterator[str]:
    for name, result in on_both("masks"):
        for entry in result.differences.index:
            found, every = (result.table.loc[one] for one in (entry, result.study.paired[entry]))
            kept = f"{100 * found['mean'] / every['mean']:.0f} %"
            yield f"{name} | {entry[0]} | {entry[1]} % | {percent(found)} | {kept}"


@table("data set | variant | image learning rate | held-out accuracy, %", words=2)
def tried() -> Iterator[str]:
    for name in ("cifar10", "mnist"):
        for search in record(f"study-noise-aware-{name}-ipc1")["searches"]:
            variant = BOTH if search["class_collective"] else "plain"
            for rate, found in search["held_out"]:
                yield f"{shown(name)} | {variant} | {rate:g} | {100 * fmean(found):.1f}"


@table("images | network | variant | data, % | network, % | batch, % | interaction, %", words=3)
def shares(*variants: tuple[str, str]) -> Iterator[str]:
    for stem in records("noise-*"):
        found = noise(stem).frame.query("`class` == ''").groupby(["network", "variant"])
        for pair in (pair for pair in variants if pair in found.groups):
            texts = " | ".join(map(share, found.get_group(pair).itertuples()))
            yield f"{place(stem)} | {' | '.join(pair)} | {texts}"


@table("data set | network | variant | spread | fine structure, % of the energy", words=3)
def image_content(name: str) -> Iterator[str]:
    for dataset in ("mnist", "cifar10"):
        values = record(f"image-content-{name}-{dataset}-ipc1")
        real = {kind: {"mean": value} for kind, value in values["real"].items()}
        for entry in [*values["entries"], {"row": "real images", "column": "", **real}]:
            numbers = f"{entry['spread']['mean']:.1f} | {100 * entry['fine']['mean']:.0f}"
            yield f"{shown(dataset)} | {entry['column']} | {entry['row']} | {numbers}"


@table("MNIST, one image per class | accuracy, % | n | seconds to make the set")
def methods() -> Iterator[str]:
    stem, learned = "study-comparison-mnist", ("gradient-matching", "distribution-matching")
    details = {"random": "", "herding": ", after full training"} | dict.fromkeys(learned, ", {:g} iterations")
    for name, detail in details.items():
        found = study(stem).table.loc[name, "1"]
        seconds = NOTHING if name == "random" else f"{found.condensing_seconds:.0f}"
        what = name.replace("-", " ") + detail.format(found.iterations)
        yield f"{what} | {percent(found)} | {found.n} | {seconds}"
    full: Any = study(stem).full
    what = f"full training, {option(stem, '--full-epochs')} epochs"
    yield f"{what} | {percent(full)} | {full.n} | {full.evaluating_seconds:.0f}"


def data_shares() -> str:
    """Return README's table of the part of the gradient that belongs to the data."""
    names = ("num-networks", "num-batches", "real-batch")
    head = "{} networks × {} batches of {} real images per class | MNIST | CIFAR-10"

    @table(head.format(*(option("noise-mnist-ipc1", f"--{name}") for name in names)))
    def lines() -> Iterator[str]:
        for network, title in {"convnet": "ConvNet", "lenet": "LeNet"}.items():
            pair = f"`class` == '' and part == 'data' and network == '{network}' and variant == 'none'"
            frames = (noise(f"noise-{name}-ipc1").frame for name in ("mnist", "cifar10"))
            yield " | ".join([title, *(share(frame.query(pair).iloc[0], " %") for frame in frames)])

    return lines()


def option(stem: str, name: str) -> str:
    """Return the value of an option of a record's command, if it is there."""
    words = shlex.split(record(stem)["command"])
    return words[words.index(name) + 1] if name in words else ""


def place(stem: str) -> str:
    """Return at which images gradient noise was measured."""
    iterations, dataset = option(stem, "--iterations"), shlex.split(record(stem)["command"])[2]
    return f"{shown(dataset)}, {f'learned in {iterations} iterations' if iterations else 'initial'}"


def percent(found: Any) -> str:
    """Format the accuracy of an entry."""
    return accuracy(100 * found["mean"], 100 * found["std"])


def ends(found: Any, form: str = "+z.2f") -> str:
    """Format the ends of an interval in percent or points."""
    return interval((found.low, found.high), form, 100)


def share(found: Any, unit: str = "") -> str:
    """Format a share of the gradient in percent with its interval."""
    return f"{100 * found.share:z.0f}{unit} ({ends(found, 'z.0f')})"


if __name__ == "__main__":
    from datacondense.reports import noise_plot, study_plots

    for name in records("noise-*"):
        noise_plot.plot_noise(noise(name), DOCS / f"{name}.png")
    for name in records("study-*"):
        study_plots.plot_study(study(name), DOCS / f"{name}.png")
    for name in records("continual-*"):
        study_plots.plot_study(continual(name).means, DOCS / f"{name}.png")
