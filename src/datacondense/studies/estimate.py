"""Estimates of what remains of a study: its tasks, and the time and memory of one task of each kind."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.errors import InputError
from datacondense.studies.memory import process_peak
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import Task, by_depth


@dataclass(frozen=True, kw_only=True)
class KindEstimate:
    """The tasks of one kind.

    Attributes:
        kind: What they do.
        tasks: How many there are.
        finished: How many of them are finished.
        seconds: Time of one, extrapolated from a timed step; None if all are finished.
        memory: Peak memory of the process that timed it, data set included, in MiB; None if all are finished.
    """

    kind: str
    tasks: int
    finished: int
    seconds: float | None
    memory: float | None


@dataclass(frozen=True, kw_only=True)
class StudyEstimate:
    """What remains of a study.

    Attributes:
        kinds: The kinds of tasks, in the order in which they run.
        jobs: Tasks that run at once.
        seconds: Total time; each task was timed alone, so tasks that run side by side take longer.
        memory: Upper bound for all workers together, in MiB.
    """

    kinds: Sequence[KindEstimate]
    jobs: int
    seconds: float
    memory: float


def estimate(study: Study, store: Store, *, jobs: int, threads: int, device: str = "cpu") -> StudyEstimate:
    """Time one step of each kind of task, each in its own process, and extrapolate; nothing is recorded.

    Args:
        study: The study.
        store: The recorded tasks.
        jobs: Tasks that would run at once.
        threads: CPU threads of each.
        device: The device that each would compute on.

    Returns:
        Time and memory.
    """
    groups = by_depth(study.tasks)
    needed = {
        key for group in by_depth(study.tasks, store.finished) for key in group if not store.finished(key)
    }
    members: dict[str, list[str]] = {}
    examples: dict[str, Task] = {}
    for key, task in ((key, task) for group in groups for key, task in group.items()):
        members.setdefault(task.kind, []).append(key)
        if key in needed:
            examples.setdefault(task.kind, task)
    measured = {kind: _measured(task, threads, device) for kind, task in examples.items()}
    kinds = [
        KindEstimate(
            kind=kind,
            tasks=len(keys),
            finished=sum(map(store.finished, keys)),
            seconds=measured[kind][0] if kind in measured else None,
            memory=measured[kind][1] if kind in measured else None,
        )
        for kind, keys in members.items()
    ]
    unfinished = [
        [measured[task.kind][0] for key, task in group.items() if key in needed] for group in groups
    ]
    peaks = sorted((memory for _, memory in measured.values()), reverse=True)
    return StudyEstimate(
        kinds=kinds,
        jobs=jobs,
        # A group takes at least as long as its longest task.
        seconds=sum(max(sum(group) / jobs, max(group, default=0.0)) for group in unfinished),
        memory=jobs * peaks[0] if peaks else 0.0,
    )


def _measured(task: Task, threads: int, device: str) -> tuple[float, float]:
    """Time a task in a fresh process, whose peak memory is due to this task alone."""
    from joblib.externals.loky import ProcessPoolExecutor  # noqa: PLC0415
    from joblib.externals.loky.process_executor import BrokenProcessPool  # noqa: PLC0415

    # joblib's own executor, as for the tasks themselves: it can pickle classes of a user's file.
    with ProcessPoolExecutor(max_workers=1) as pool:
        try:
            found: tuple[float, float] = pool.submit(measure, task, threads, device).result()
        except BrokenProcessPool as error:
            raise InputError(
                f"The process that timed {task.kind!r} died, perhaps out of memory: make the task smaller."
            ) from error
    return found


def measure(task: Task, threads: int, device: str) -> tuple[float, float]:
    """Time a task in this process.

    Args:
        task: The task.
        threads: CPU threads.
        device: The device to compute on.

    Returns:
        Seconds that the full task would take, and the peak memory of this process so far in MiB.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the task's own run records them
        seconds = task.estimate(torch.device(device))
    return seconds, process_peak()
