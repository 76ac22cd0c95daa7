"""Studies from declaration to numbers."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datacondense.errors import InputError
from datacondense.studies.catalogue import STUDIES
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.config import TASKS, StudyConfig, parse_override
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.estimate import StudyEstimate, estimate
from datacondense.studies.factory import Declaration, TaskFactory
from datacondense.studies.results import StudyResult, collect
from datacondense.studies.runner import Outcome, StudyProgress, run_tasks
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import Task
from datacondense.studies.user_file import read_declaration
from datacondense.studies.workers import WorkersConfig, opened

_SEARCH_FRACTION = 0.1  # of the training images, held out to compare learning rates


class StudyRun(NamedTuple):
    """A finished study.

    Attributes:
        result: Its numbers.
        outcome: Which tasks were reused, computed or failed.
    """

    result: StudyResult
    outcome: Outcome


def find_study(name: str) -> Declaration:
    """Return a study by its name or its file.

    Args:
        name: A name such as "activation", or a path to a .toml or .py file.

    Returns:
        The declaration.

    Raises:
        InputError: There is none.
    """
    if name in STUDIES:
        return STUDIES[name]
    if name.endswith((".toml", ".py")):
        return read_declaration(Path(name))
    raise InputError(
        f"There is no study {name!r}: choose one of {', '.join(STUDIES)}, or give your own as a .toml or .py file."
    )


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
    study = declaration(TaskFactory(data=source, config=config, held_out=_held_out(source, config)))
    return study.restricted(config.rows) if config.rows else study


def run_study(
    study: Study,
    out: Path | str,
    *,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Callable[[StudyProgress], None] | None = None,
) -> StudyRun:
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
    return StudyRun(collect(study, store), outcome)


def run_recorded(
    tasks: Iterable[Task],
    out: Path | str,
    workers: WorkersConfig | None,
    device: str,
    observer: Callable[[StudyProgress], None] | None,
) -> tuple[Store, Outcome]:
    """Run the tasks that are not finished, in a folder that all studies with the same `out` share.

    Args:
        tasks: The tasks to run; their inputs run too.
        out: As in `run_study`, like the following.
        workers: How many tasks run at once, and where.
        device: The device that each task computes on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The records, and what was done.

    Raises:
        InputError: As in `run_study`.
    """
    store = _store(out)
    with opened(workers or WorkersConfig(), on_gpu=_is_gpu(device)) as ready:
        return store, run_tasks(tasks, store, ready, device=device, observer=observer)


def estimate_study(
    study: Study, out: Path | str, *, workers: WorkersConfig | None = None, device: str = "cpu"
) -> StudyEstimate:
    """Time one step of each kind of task on this machine; nothing is written.

    Args:
        study: What `declared` returns.
        out: Output folder; tasks that are finished there are not counted.
        workers: As in `run_study`.
        device: The device that each task would compute on.

    Returns:
        Time and memory.

    Raises:
        InputError: The cluster cannot be reached.
    """
    with opened(workers or WorkersConfig(), on_gpu=_is_gpu(device)) as ready:
        return estimate(study, _store(out), jobs=ready.jobs, threads=ready.threads, device=device)


def _held_out(source: DataSource, config: StudyConfig) -> DataSource | None:
    """Hold out training images if variants search their learning rate."""
    if not config.image_lrs and all(
        setting != "image_lrs" for _, setting, _ in map(parse_override, config.override)
    ):
        return None
    if source.validation_fraction:
        raise InputError(
            "image_lrs are compared on held-out images, but validation_fraction already is "
            f"{source.validation_fraction}: leave one of them out."
        )
    return identified(replace(source, validation_fraction=_SEARCH_FRACTION, content={}))


def _store(out: Path | str) -> Store:
    """Return the folder of tasks, by an absolute path for workers in other folders."""
    return Store(Path(out).resolve() / TASKS)


def _is_gpu(device: str) -> bool:
    return not device.startswith("cpu")
