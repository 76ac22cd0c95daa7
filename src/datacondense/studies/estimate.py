"""What a study would take: the cells that are left, and the time and memory of one of each kind."""

import resource
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from datacondense.errors import InputError
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import Task, by_depth


@dataclass(frozen=True, kw_only=True)
class KindEstimate:
    """The cells of one kind.

    Attributes:
        kind: What they do.
        tasks: Their number.
        finished: How many of them are finished.
        seconds: Of one of them, extrapolated from a timed step; None where all are finished.
        memory: Peak of the process that timed it, data set included, in MiB; None where all are finished.
    """

    kind: str
    tasks: int
    finished: int
    seconds: float | None
    memory: float | None


@dataclass(frozen=True, kw_only=True)
class StudyEstimate:
    """What is left of a study.

    Attributes:
        kinds: The kinds of cells, in the order in which they run.
        jobs: Cells that run at once.
        seconds: From beginning to end; timed alone, so busy neighbours add to it.
        memory: Of all workers together, at most, in MiB.
    """

    kinds: Sequence[KindEstimate]
    jobs: int
    seconds: float
    memory: float


def estimate(study: Study, store: Store, *, jobs: int, threads: int, device: str = "cpu") -> StudyEstimate:
    """Time one step of each kind of cell, each in a process of its own, and extrapolate; nothing is recorded.

    Args:
        study: The study.
        store: Where finished cells are.
        jobs: Cells that would run at once.
        threads: Processor threads of each.
        device: Where each would compute.

    Returns:
        Time and memory.
    """
    levels = by_depth(study.tasks)
    needed = {
        key for level in by_depth(study.tasks, store.finished) for key in level if not store.finished(key)
    }
    members: dict[str, list[str]] = {}
    examples: dict[str, Task] = {}
    for key, task in ((key, task) for level in levels for key, task in level.items()):
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
        [measured[task.kind][0] for key, task in level.items() if key in needed] for level in levels
    ]
    peaks = sorted((memory for _, memory in measured.values()), reverse=True)
    return StudyEstimate(
        kinds=kinds,
        jobs=jobs,
        # No wave ends before its longest cell.
        seconds=sum(max(sum(wave) / jobs, max(wave, default=0.0)) for wave in unfinished),
        memory=jobs * peaks[0] if peaks else 0.0,
    )


def _measured(task: Task, threads: int, device: str) -> tuple[float, float]:
    """Time a cell in a fresh process, whose peak memory is that of this cell alone."""
    from joblib.externals.loky import ProcessPoolExecutor  # noqa: PLC0415
    from joblib.externals.loky.process_executor import BrokenProcessPool  # noqa: PLC0415

    # joblib's own executor, as for the cells themselves: it can send classes of a user's file.
    with ProcessPoolExecutor(max_workers=1) as pool:
        try:
            found: tuple[float, float] = pool.submit(measure, task, threads, device).result()
        except BrokenProcessPool as error:
            raise InputError(
                f"The process that timed {task.kind!r} died, perhaps for want of memory: give a smaller cell."
            ) from error
    return found


def measure(task: Task, threads: int, device: str) -> tuple[float, float]:
    """Time a cell in this process.

    Args:
        task: The cell.
        threads: Processor threads.
        device: Where to compute.

    Returns:
        Seconds that the whole cell would take, and the peak memory of this process so far in MiB.
    """
    import torch  # noqa: PLC0415

    from datacondense.allocator import keep_freed_memory  # noqa: PLC0415

    torch.set_num_threads(threads)
    keep_freed_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cell's own run notes them in its record
        seconds = task.estimate(torch.device(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, peak / (2**20 if sys.platform == "darwin" else 2**10)
