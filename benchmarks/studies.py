"""Record a study or a measurement of gradient noise in benchmarks/results.

    python benchmarks/studies.py study activation mnist --iterations 100 --seeds 3 --repeats 5 --out studies
    python benchmarks/studies.py noise mnist --networks convnet lenet --variants none max-pool-1 --out studies

takes what follows `datacondense` in a recorded command, so it also repeats a record: it runs what is missing.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import measure

from datacondense.cli.main import parsed
from datacondense.cli.study import Study
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.files import write_text
from datacondense.reports.records import noise_record, study_record
from datacondense.studies.catalogue import find_study
from datacondense.studies.noise import collect_noise, noise_tasks
from datacondense.studies.results import collect
from datacondense.studies.running import declared, run_recorded
from datacondense.studies.tasks import Condense, SearchLearningRate
from datacondense.tasks.store import Store
from datacondense.tasks.task import Task, graph_of

NAMES = ("ipc", "network", "transform", "class_collective", "iterate_averaging", "shrink_pixels", "siamese")


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
        study = declared(find_study(command.name), source, command.study)
        stem, tasks = f"study-{command.stem}", list(study.tasks)
    else:
        variants = noise_tasks(DataSource(name=command.dataset, config=command.data), command.noise)
        stem, tasks = command.stem, list(variants.values())
    device, graph = str(choose_device(command.device)), graph_of(tasks)
    store, outcome = run_recorded(tasks, command.out, command.workers, device, None)
    records = [store.record(key) for key in graph if store.finished(key)]
    if isinstance(command, Study):
        numbers = study_record(collect(study, store)) | {"searches": list(searches(graph.values(), store))}
    else:
        numbers = noise_record(collect_noise(variants, store))
    values = {
        **measure.header(min(entry["threads"] for entry in records)),
        "command": command.command(),
        "dataset": command.dataset,
        "date": max(entry["finished"] for entry in records)[:10],
        "recorded_at_commit": measure.code_version(),
        "facts": command.facts(),
        "tasks": len(records),
        "failed": dict(outcome.failed),
        "task_hours": sum(entry["seconds"] for entry in records) / 3600,
        **numbers,
    }
    write_text(measure.RESULTS / f"{stem}.json", json.dumps(values, indent=1) + "\n")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(record(parsed(sys.argv[1:])))
