"""The tables of the docs on studies and on gradient noise, filled in by cog from the records.

    python benchmarks/study_tables.py

writes the plots of all records to docs/.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from tables import interval, record, records, table

from datacondense.reports.layout import NOTHING, accuracy, number, points
from datacondense.reports.noise_page import noise_markdown
from datacondense.reports.records import read_noise_record, read_study_record
from datacondense.reports.study_page import markdown
from datacondense.studies.noise import NoiseResult
from datacondense.studies.published import published_table, shown
from datacondense.studies.results import StudyResult

DOCS = Path(__file__).parents[1] / "docs"
WITHIN = 2  # published standard deviations
ORDER = ("cross-architecture", "activation", "pooling", "norm", "distance", "ipc")
NOISE_AWARE = ("noise-aware", "representatives", "masks", "teacher")
SEVERAL_NETWORKS = {"cross-architecture", "distance", "representatives", "teacher"}
BOTH = "class-collective, iterate averaging"


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


@cache
def noise(stem: str) -> NoiseResult:
    """Return the numbers of a measurement of gradient noise."""
    return read_noise_record(record(stem))


def sections(*names: str) -> str:
    """Return a section for each record: how it was made, its plot, its tables."""
    parts = []
    for stem in names:
        made = (
            "{date}, {hardware[processor]}, {hardware[cores]} cores, {hardware[threads]} thread(s) per task; {tasks} "
            "tasks, {task_hours:.1f} core hours, beside other work"
        ).format_map(record(stem))
        facts = {**record(stem)["facts"], "Made": made, "Record": f"benchmarks/results/{stem}.json"}
        if stem.startswith("noise-"):
            text = noise_markdown(noise(stem), facts, picture=f"{stem}.png", by_class=False)
            text = text.replace("\n", f": {place(stem)}\n", 1)
        else:
            text = markdown(study(stem), facts, picture=f"{stem}.png")
        parts.append(re.sub("^#", "##", text, flags=re.MULTILINE))
    return "\n".join(parts)


def orderings() -> str:
    """Return the published orderings with their verdicts."""
    lines = [
        f"{claim.text} | {points(claim.difference)} | {ends(claim)} | {claim.size} | {claim.verdict}"
        for stem in stems(*ORDER, dataset="mnist")
        for claim in study(stem).claims.itertuples()
    ]
    return table("ordering | better - worse, points | 95 % interval | n (sets × networks) | verdict", lines)


def against(*names: str) -> str:
    """Return our accuracies beside the published ones."""
    head = "data set, network | method | images per class | iterations | ours, % (n, sets) | published, %"
    lines = (line for stem in names for line in beside(study(stem)))
    return table(f"{head} | difference | verdict", lines, words=3)


def beside(result: StudyResult) -> Iterator[str]:
    """Yield the lines of a study that have a published accuracy."""
    for entry, printed in result.study.published.items():
        if entry in result.table.index and (found := result.table.loc[entry]).n:
            difference = 100 * found["mean"] - printed.mean
            verdict = "above" if difference > 0 else "below"
            if printed.std is not None and abs(difference) <= WITHIN * printed.std:
                verdict = "within"
            iterations = number(found.iterations, "g", NOTHING)
            line = f"{result.study.subject} | {' | '.join(entry)} | {iterations} | {percent(found)}"
            yield f"{line} ({found.n}, {found.sets}) | {accuracy(*printed)} | {difference:+.1f} | {verdict}"


def forgetting() -> str:
    """Return forgetting with and without the images that the network never learned."""
    lines = []
    for result in map(study, stems("comparison")):
        for column in result.study.columns:
            entries = [(row, column) for row in ("forgetting", "forgetting-learned")]
            printed = result.study.published.get(entries[0])
            if printed and all(entry in result.table.index for entry in entries):
                own = " | ".join(percent(result.table.loc[entry]) for entry in entries)
                lines.append(f"{result.study.subject} | {column} | {own} | {accuracy(*printed)}")
    head = "data set, network | images per class | with them, % | without, % | published, %"
    return table(head, lines, words=2)


def on_both(kind: str) -> list[tuple[str, StudyResult]]:
    """Return a study on each data set."""
    return [(shown(name), study(f"study-{kind}-{name}-ipc1")) for name in ("cifar10", "mnist")]


def accuracies(kind: str, *entries: tuple[str, str]) -> str:
    """Return some entries of a study on each data set."""
    lines = []
    for name, result in on_both(kind):
        for entry in entries:
            found = result.table.loc[entry]
            iterations = number(found.iterations, ".0f", NOTHING)
            lines.append(f"{name} | {' | '.join(entry)} | {percent(found)} | {iterations} | {found['size']}")
    head = "data set | variant | column | accuracy, % | iterations | n (sets × networks)"
    return table(head, lines, words=3)


def differences(kind: str) -> str:
    """Return the paired differences of a study on each data set."""
    lines = [
        f"{name} | {' | '.join(entry)} | {points(found.difference)} | {ends(found)} | {found.n} on {found.sets} sets"
        f" | {found.verdict}"
        for name, result in on_both(kind)
        for entry, found in result.differences.iterrows()
    ]
    return table(
        "data set | variant | column | difference, points | 95 % interval | n | verdict", lines, words=3
    )


def masks() -> str:
    """Return how much of the accuracy a part of the gradient's entries keeps."""
    lines = []
    for name, result in on_both("masks"):
        for entry in (entry for entry in result.table.index if entry in result.study.paired):
            found, every = (result.table.loc[one] for one in (entry, result.study.paired[entry]))
            kept = f"{100 * found['mean'] / every['mean']:.0f} %"
            lines.append(f"{name} | {entry[0]} | {entry[1]} % | {percent(found)} | {kept}")
    return table("data set | entries | of them | accuracy, % | of the accuracy with all", lines, words=3)


def tried() -> str:
    """Return the learning rates that the searches of the noise-aware study tried, with their mean accuracies."""
    lines = [
        f"{shown(name)} | {BOTH if search['class_collective'] else 'plain'} | {rate:g} | {100 * fmean(found):.1f}"
        for name in ("cifar10", "mnist")
        for search in record(f"study-noise-aware-{name}-ipc1")["searches"]
        for rate, found in search["held_out"]
    ]
    return table("data set | variant | image learning rate | held-out accuracy, %", lines, words=2)


def shares(*variants: tuple[str, str]) -> str:
    """Return the parts of the squared pixel gradient, for networks and variants on each data set."""
    lines = []
    for stem in records("noise-*"):
        found = noise(stem).frame.query("`class` == ''").groupby(["network", "variant"])
        for pair in (pair for pair in variants if pair in found.groups):
            parts = found.get_group(pair).itertuples()
            texts = " | ".join(f"{100 * part.share:z.0f} ({ends(part, 'z.0f')})" for part in parts)
            lines.append(f"{place(stem)} | {' | '.join(pair)} | {texts}")
    head = "images | network | variant | data, % | network, % | batch, % | interaction, %"
    return table(head, lines, words=3)


def image_content(name: str) -> str:
    """Return what the learned images of a study look like."""
    line, lines = "{} | {column} | {row} | {spread[mean]:.1f} | {fine:.0f}", []
    for dataset in ("mnist", "cifar10"):
        values = record(f"image-content-{name}-{dataset}-ipc1")
        real = {kind: {"mean": value} for kind, value in values["real"].items()}
        for entry in [*values["entries"], {"row": "real images", "column": "", **real}]:
            lines.append(line.format(shown(dataset), **{**entry, "fine": 100 * entry["fine"]["mean"]}))
    return table("data set | network | variant | spread | fine structure, % of the energy", lines, words=3)


def methods() -> str:
    """Return README's table of methods: MNIST, one image per class."""
    result, lines = study("study-comparison-mnist"), []
    learned = dict.fromkeys(("gradient-matching", "distribution-matching"), ", {:g} iterations")
    for name, detail in {"random": "", "herding": ", after full training", **learned}.items():
        found = result.table.loc[name, "1"]
        seconds = NOTHING if name == "random" else f"{found.condensing_seconds:.0f}"
        what = name.replace("-", " ") + detail.format(found.iterations)
        lines.append(f"{what} | {percent(found)} | {found.n} | {seconds}")
    full, epochs = result.full, option("study-comparison-mnist", "--full-epochs")
    assert full is not None
    lines.append(
        f"full training, {epochs} epochs | {percent(full)} | {full.n} | {full.evaluating_seconds:.0f}"
    )
    return table("MNIST, one image per class | accuracy, % | n | seconds to make the set", lines)


def data_shares() -> str:
    """Return README's table of the part of the gradient that belongs to the data."""
    names, lines = ("mnist", "cifar10"), []
    for network, title in {"convnet": "ConvNet", "lenet": "LeNet"}.items():
        pair = f"`class` == '' and part == 'data' and network == '{network}' and variant == 'none'"
        found = [noise(f"noise-{name}-ipc1").frame.query(pair).iloc[0] for name in names]
        shown_shares = (f"{100 * data.share:.0f} % ({ends(data, 'z.0f')})" for data in found)
        lines.append(" | ".join([title, *shown_shares]))
    sizes = (
        option("noise-mnist-ipc1", f"--{name}") for name in ("num-networks", "num-batches", "real-batch")
    )
    head = "{} networks × {} batches of {} real images per class".format(*sizes)
    return table(" | ".join([head, *map(shown, names)]), lines)


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


if __name__ == "__main__":
    from datacondense.reports.noise_plot import plot_noise
    from datacondense.reports.study_plots import plot_study

    for stem in records("noise-*"):
        plot_noise(noise(stem), DOCS / f"{stem}.png")
    for stem in records("study-*"):
        plot_study(study(stem), DOCS / f"{stem}.png")
