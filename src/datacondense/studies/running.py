"""From tasks and studies to numbers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.settings import joined_keys, plain_settings
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import Declaration, TaskFactory
from datacondense.studies.results import StudyResult, collect
from datacondense.studies.study import Study
from datacondense.tasks.pilot import StudyEstimate, estimate
from datacondense.tasks.scheduler import Observer, Outcome, schedule
from datacondense.tasks.store import Store, store_in
from datacondense.tasks.task import Task
from datacondense.tasks.workers import WorkersConfig, opened

ResultT = TypeVar("ResultT")


class Run(NamedTuple, Generic[ResultT]):
    """A finished run of tasks.

    Attributes:
        result: Their numbers.
        outcome: Which tasks were reused, computed or failed.
    """

    result: ResultT
    outcome: Outcome


def declared(declaration: Declaration, data: DataSource, config: StudyConfig | None = None) -> Study:
    """Declare the tasks of a study for a data set.

    Args:
        declaration: The study.
        data: The data set; it is read.
        config: Iterations, seeds, networks and so on; None means the published ones.

    Returns:
        The study.

    Raises:
        InputError: The data set cannot be read, or a setting does not fit the study.
    """
    config = config or StudyConfig()
    if config.override and declaration not in COMPARISONS.values():
        raise InputError(
            f"override is {config.override[0]!r}, but this study does not compare methods: leave --override out."
        )
    source = data if data.content else identified(data)
    study = declaration(TaskFactory(data=source, config=config))
    return study.restricted(config.rows) if config.rows else study


def run_study(
    study: Study,
    out: Path | str,
    *,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Run[StudyResult]:
    """Run the tasks of a study that are not finished, and collect its numbers.

    A study that was stopped or killed continues where it was; studies with the same `out` share their tasks.

    Args:
        study: What `declared` returns.
        out: Output folder; records are in OUT/cells.
        workers: How many tasks run at once, and where; None means as many processes as cores.
        device: The device that each task computes on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The numbers, and what was done.

    Raises:
        InputError: The cluster cannot be reached, or the folder cannot be written.
    """
    store, outcome = run_recorded(study.tasks, out, workers, device, observer)
    return Run(collect(study, store), outcome)


def run_tasks(
    tasks: Iterable[Task],
    out: Path | str,
    *,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Run[pd.DataFrame]:
    """Run tasks of any kind that are not finished, and what they need; studies with the same `out` share them.

    Args:
        tasks: The tasks.
        out: As in `run_study`, like the following.
        workers: How many tasks run at once, and where.
        device: The device that each task computes on.
        observer: Called regularly with the progress.

    Returns:
        A frame with a line for each finished task (its key, its fields and its result, nested ones joined by dots), and
        what was done.

    Raises:
        InputError: As in `run_study`.
    """
    tasks = list(tasks)
    store, outcome = run_recorded(tasks, out, workers, device, observer)
    lines = [
        {"key": task.key, **joined_keys({**plain_settings(task), **store.record(task.key)["result"]})}
        for task in tasks
        if store.finished(task.key)
    ]
    return Run(pd.DataFrame(lines), outcome)


def run_recorded(
    tasks: Iterable[Task],
    out: Path | str,
    workers: WorkersConfig | None,
    device: str,
    observer: Observer | None,
) -> tuple[Store, Outcome]:
    """Run the tasks that are not finished, and return their records too."""
    store = store_in(out)
    with opened(workers or WorkersConfig(), device=device) as ready:
        return store, schedule(tasks, store, ready, device=device, observer=observer)


def estimate_study(
    study: Study, out: Path | str, *, workers: WorkersConfig | None = None, device: str = "cpu"
) -> StudyEstimate:
    """Estimate time and memory of the unfinished tasks by pilots on this machine; nothing is written to `out`."""
    with opened(workers or WorkersConfig(), device=device) as ready:
        jobs, threads = ready.jobs, ready.threads
        return estimate(study.tasks, store_in(out), jobs=jobs, threads=threads, device=device)
