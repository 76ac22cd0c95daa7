"""Record a study, gradient noise, continual learning, or what the images of a study look like in benchmarks/results.

    python benchmarks/studies.py study activation mnist --iterations 100 --seeds 3 --repeats 5 --out studies
    python benchmarks/studies.py noise mnist --networks convnet lenet --variants none max-pool-1 --out studies
    python benchmarks/studies.py continual local/mnist-m mnist usps --seeds 3 --out continual
    python benchmarks/studies.py images representatives mnist --networks convnet lenet --out studies

takes what follows `datacondense` in a recorded command, so it also repeats a record: it runs what is missing. "images"
takes the options of a study, runs nothing, measures its finished sets and plots those of seed 0 of the first column.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import measure
import pandas as pd
import torch

from datacondense import ImageSet, plot_grid
from datacondense.applications.continual_results import collect_continual
from datacondense.applications.continual_study import continual_study, tested_names
from datacondense.cli.continual import Continual
from datacondense.cli.main import parsed
from datacondense.cli.study import Study
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.reports.continual_page import continual_record
from datacondense.reports.records import noise_record, study_record
from datacondense.studies.catalogue import find_study
from datacondense.studies.noise import collect_noise, noise_tasks
from datacondense.studies.results import collect
from datacondense.studies.running import declared, run_recorded
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate
from datacondense.tasks.store import Store, Workspace, store_in
from datacondense.tasks.task import Task, graph_of

NAMES = ("ipc", "network", "transform", "class_collective", "iterate_averaging", "shrink_pixels", "siamese")
FINE = 0.25  # cycles per pixel: structure of fewer than four pixels
REAL = 1000  # number of real images to compare with, the first ones


def write(stem: str, threads: int, **values: Any) -> None:
    """Write a record."""
    content = {**measure.header(threads), "recorded_at_commit": measure.code_version(), **values}
    measure.write_record(measure.RESULTS / f"{stem}.json", content)


def searches(tasks: Iterable[Task], store: Store) -> Iterator[dict[str, Any]]:
    """Yield the learning rates tried on held-out images, with every accuracy and the selected one."""
    for task in tasks:
        if isinstance(task, SearchLearningRate) and store.finished(task.key):
            first = next(iter(task.scores.values()))[0].source
            assert isinstance(first, Condense)
            method = asdict(first.method)
            changed = {name: method[name] for name in NAMES if name in method}
            yield {"method": first.method.name, **changed, **store.record(task.key)["result"]}


def record(command: Any) -> int:
    """Run what is missing and write the record; return 1 if a task failed."""
    tasks: list[Task]
    if isinstance(command, Study):
        fraction = command.validation_fraction
        source = DataSource(name=command.dataset, config=command.data, validation_fraction=fraction)
        study = declared(find_study(command.name, trust_code=command.trust_code), source, command.study)
        stem, tasks, facts = f"study-{command.stem}", list(study.tasks), command.facts()
    elif isinstance(command, Continual):
        stream = command.stream()
        study = continual_study(stream, command.continual)
        stem, tasks, facts = command.stem, list(study.tasks), command.facts(stream(0))
    else:
        variants = noise_tasks(DataSource(name=command.dataset, config=command.data), command.noise)
        stem, tasks, facts = command.stem, list(variants.values()), command.facts()
    device, graph = str(choose_device(command.device)), graph_of(tasks)
    store, outcome = run_recorded(tasks, command.out, command.workers, device, None)
    records = [store.record(key) for key in graph if store.finished(key)]
    if isinstance(command, Study):
        numbers = study_record(collect(study, store)) | {"searches": list(searches(graph.values(), store))}
    elif isinstance(command, Continual):
        numbers = continual_record(collect_continual(study, tested_names(stream, command.continual), store))
    else:
        numbers = noise_record(collect_noise(variants, store))
    numbers |= {"command": command.command(), "facts": facts}
    numbers |= {} if isinstance(command, Continual) else {"dataset": command.dataset}
    numbers |= {"date": max(entry["finished"] for entry in records)[:10], "failed": dict(outcome.failed)}
    hours = sum(entry["seconds"] for entry in records) / 3600
    threads = min(entry["threads"] for entry in records)
    write(stem, threads, tasks=len(records), task_hours=hours, **numbers)
    return 1 if outcome.failed else 0


def content(images: ImageSet) -> dict[str, float]:
    """Return the spread of pixels and the share of fine structure of the first images, normalised."""
    pixels = images.normalised(torch.arange(min(REAL, len(images))))
    centred = (pixels - pixels.mean((2, 3), keepdim=True)).double()
    energy = torch.fft.fft2(centred).abs().square()
    rows, columns = (torch.fft.fftfreq(length) for length in pixels.shape[2:])
    fine = energy[..., (rows[:, None].square() + columns.square()).sqrt() > FINE].sum() / energy.sum()
    return {"spread": float(centred.square().mean().sqrt()), "fine": float(fine)}


def record_images(command: Any) -> int:
    """Measure the sets of a study's finished tasks and plot one row of images per variant."""
    source = DataSource(name=command.dataset, config=command.data)
    study = declared(find_study(command.name, trust_code=command.trust_code), source, command.study)
    workspace = Workspace(store_in(command.out))
    stem, entries, first = f"image-content-{command.stem}", list[measure.Row](), dict[str, ImageSet]()
    for (row, column), tasks in study.entries.items():
        made = {task.source.key: task.source for task in tasks if isinstance(task, Evaluate)}
        sets = [of.image_set(workspace) for key, of in made.items() if workspace.store.finished(key)]
        numbers = pd.DataFrame(map(content, sets)).agg(["mean", "std"]).astype(object)
        numbers = numbers.where(numbers.notna(), None).to_dict()
        entries.append({"row": row, "column": column, "n": len(sets), **numbers})
        first |= {row: sets[0]} if column == study.columns[0] and sets else {}
    units = {
        "fine": f"share of the spectral energy above {FINE} cycles per pixel, after subtracting the mean of each image",
        "spread": "standard deviation of the pixels in normalised units, after subtracting the mean of each image",
    }
    real = content(source.read().train)
    write(stem, torch.get_num_threads(), sets_of=command.command(), real=real, entries=entries, **units)
    one, images = next(iter(first.values())), torch.cat([each.images for each in first.values()])
    labels = torch.arange(len(first)).repeat_interleave(len(one))
    rows = replace(one, images=images, labels=labels, class_names=tuple(first), provenance={})
    plot_grid(rows, Path(__file__).parents[1] / "docs" / f"{stem}.png")
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "images":
        sys.exit(record_images(parsed(["study", *sys.argv[2:]])))
    sys.exit(record(parsed(sys.argv[1:])))
