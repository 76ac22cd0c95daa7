"""Record measurements of gradient noise, and write the page on noise-aware matching.

    python benchmarks/noise_aware.py record mnist --networks convnet lenet --variants none max-pool-1 --out studies
    python benchmarks/noise_aware.py page

`record` takes the options of `datacondense noise`, measures what is missing and writes benchmarks/results/noise-*.json.
`python benchmarks/studies.py record …` records studies, `benchmarks/transform_step.py` times and
`benchmarks/image_content.py` image content. `page` writes docs/noise-aware.md and its plots from the records alone.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import measure
import tyro
from noise_aware_words import HEAD, Numbers, verdict

from datacondense.cli.noise import Noise as NoiseCommand
from datacondense.environment import choose_device
from datacondense.files import write_text
from datacondense.reports.noise import noise_markdown
from datacondense.reports.noise_plot import plot_noise
from datacondense.reports.noise_records import noise_record, read_noise_record
from datacondense.reports.study_plots import plot_study
from datacondense.reports.study_records import read_study_record
from datacondense.reports.study_tables import markdown
from datacondense.studies.data_source import DataSource
from datacondense.studies.noise_running import noise_tasks, run_noise
from datacondense.studies.store import Store
from datacondense.studies.task import task_key

DOCS = Path(__file__).parents[1] / "docs"
STUDIES = ("noise-aware", "representatives", "masks", "teacher")
STEP = "transform-step"

Values = Mapping[str, Any]


def record(arguments: list[str]) -> int:
    """Measure and write the record."""
    command = tyro.cli(
        NoiseCommand, args=arguments, config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    )
    source = DataSource(name=command.dataset, config=command.data)
    run = run_noise(
        source, command.noise, command.out, workers=command.workers, device=str(choose_device(command.device))
    )
    store = Store(command.out / "cells")
    keys = [task_key(task) for task in noise_tasks(source, command.noise).values()]
    records = [store.record(key) for key in keys if store.finished(key)]
    values = {
        **measure.header(records[0]["threads"]),
        "command": command.command(),
        "date": max(entry["finished"] for entry in records)[:10],
        "recorded_at_commit": measure.code_version(),
        "facts": command.facts(),
        "tasks": len(records),
        "failed": dict(run.outcome.failed),
        "task_hours": sum(entry["seconds"] for entry in records) / 3600,
        **noise_record(run.result),
    }
    write_text(measure.RESULTS / f"{command.stem}.json", json.dumps(values, indent=1) + "\n")
    return 1 if run.outcome.failed else 0


def page() -> int:
    """Write the page and its plots."""
    studies = dict(recorded(*(f"study-{name}-*" for name in STUDIES)))
    noises = dict(recorded("noise-*"))
    steps = dict(recorded(STEP))
    contents = dict(recorded("image-content-*"))
    parts = [HEAD, verdict(Numbers(studies, noises, contents)), _steps_part(steps)]
    for stem, values in studies.items():
        result = read_study_record(values)
        plot_study(result, DOCS / f"{stem}.png")
        parts.append(_deeper(markdown(result, _facts(stem, values), picture=f"{stem}.png"), values))
    for stem, values in noises.items():
        measured = read_noise_record(values)
        plot_noise(measured, DOCS / f"{stem}.png")
        text = noise_markdown(measured, _facts(stem, values), picture=f"{stem}.png", by_class=False)
        parts.append(_deeper(text, values))
    write_text(DOCS / "noise-aware.md", "\n".join(part for part in parts if part).rstrip("\n") + "\n")
    return 0


def recorded(*patterns: str) -> Iterator[tuple[str, Values]]:
    """Yield name and content of the records whose names match, in the order of the patterns."""
    for pattern in patterns:
        for path in sorted(measure.RESULTS.glob(f"{pattern}.json")):
            yield path.stem, measure.read_record(path)


def _facts(stem: str, values: Values) -> dict[str, str]:
    """Return the facts of a record and how it was made."""
    hardware = values["hardware"]
    made = (
        f"{values['date']}, {hardware['processor']}, {hardware['cores']} cores, {hardware['threads']} thread(s) per "
        f"task; {values['tasks']} tasks, {values['task_hours']:.1f} core hours, two tasks at a time"
    )
    return {**values["facts"], "Made": made, "Record": f"benchmarks/results/{stem}.json"}


def _deeper(text: str, values: Values) -> str:
    """Return the section of a page: headings one level deeper, the data set in the first."""
    dataset = values["facts"]["Data set"].split(",")[0]
    images = values["facts"].get("Images", "").partition(", ")[2]
    titled = re.sub(r"\A# (.*)", rf"# \1 ({dataset}{images and ', '}{images})", text)
    return re.sub("^#", "##", titled, flags=re.MULTILINE) + "\n"


def _steps_part(records: Mapping[str, Values]) -> str:
    """Return the section on the time of a matching step with each transform."""
    if not records:
        return ""
    (values,) = records.values()
    ratios, hardware, settings = values["summary"]["ratios"], values["hardware"], values["settings"]
    names = list(next(iter(ratios.values())))
    header = ["transform", *(f"B = {batch}" for batch in ratios)]
    rows = [[f"`{name}`", *(_ratio(found[name]) for found in ratios.values())] for name in names]
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return (
        "## What a step costs\n\nTime of a matching step relative to plain matching, measured alternately in the same "
        "process: median over processes, quartiles in brackets. The target is 1.25 at the published B = 256; bold "
        f"marks what misses it. ConvNet, {settings['classes']} classes, images of "
        f"{'×'.join(map(str, settings['shape']))}.\n\n"
        + "\n".join(lines)
        + f"\n\n{_processes(ratios)}{values['date']}, {hardware['processor']}, {hardware['threads']} thread(s), torch "
        f"{values['versions']['torch']}; `{values['command']}`; record: benchmarks/results/{STEP}.json.\n"
    )


def _processes(ratios: Values) -> str:
    """Return the sentence on the number of processes."""
    numbers = {found["ratio"]["n"] for batch in ratios.values() for found in batch.values() if found}
    return f"n = {', '.join(map(str, sorted(numbers)))} processes per transform. "


def _ratio(found: Values | None) -> str:
    """Format a ratio, bold where it misses the target."""
    if found is None:
        return "–"
    ratio = found["ratio"]
    low, high = ratio["quartiles"]
    text = f"{ratio['median']:.2f} ({low:.2f}–{high:.2f})"
    return text if found["meets_target"] else f"**{text}**"


if __name__ == "__main__":
    what, *arguments = sys.argv[1:] or ["page"]
    sys.exit(record(arguments) if what == "record" else page())
