"""Run tasks: results are kept, failures are recorded, and no failure stops the other tasks."""

import json
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.errors import InputError
from datacondense.studies.store import Store
from datacondense.studies.task import Task, by_depth, description, task_key
from datacondense.studies.workers import Workers

_PROGRESS_SECONDS = 0.5

Tasks: TypeAlias = Mapping[str, Task]  # by key


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """Progress of a run of tasks.

    Attributes:
        total: Tasks of the run, without those that were finished before.
        done: Tasks finished in the run.
        failed: Tasks that failed, and tasks that cannot run because an input failed.
        running: Tasks that are being computed, at most.
        seconds: Time since the start.
        seconds_left: Estimate of the remaining time; None until a task is finished.
    """

    total: int
    done: int
    failed: int
    running: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a run of tasks.

    Attributes:
        reused: Keys of tasks that were finished before.
        computed: Keys of tasks finished in the run.
        failed: For each key of a failed task the error in one sentence.
        blocked: Keys of tasks that could not run because an input failed.
    """

    reused: tuple[str, ...]
    computed: tuple[str, ...]
    failed: Mapping[str, str]
    blocked: tuple[str, ...]


@dataclass(frozen=True)
class StoreWorkspace:
    """The folders and the device of the tasks of a run, see `Workspace`.

    Attributes:
        store: The records.
        device_name: Name of the device.
    """

    store: Store
    device_name: str

    @property
    def device(self) -> torch.device:
        """The device to compute on."""
        return torch.device(self.device_name)

    def folder(self, task: Task) -> Path:
        """Return the folder of a task.

        Args:
            task: The task.

        Returns:
            The folder; it is created if missing.
        """
        folder = self.store.folder(task_key(task))
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def run_tasks(
    tasks: Iterable[Task],
    store: Store,
    workers: Workers,
    *,
    device: str = "cpu",
    observer: Callable[[StudyProgress], None] | None = None,
) -> Outcome:
    """Run tasks and all that they need; no finished task is run again.

    Tasks that failed before are tried again. A task whose input fails is not run, nor is one that only finished tasks
    need.

    Args:
        tasks: The tasks to run.
        store: The records.
        workers: Where tasks run.
        device: Name of the device that each computes on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        What was reused, computed and failed.
    """
    tasks = list(tasks)
    groups = by_depth(tasks, store.finished)
    wanted = {key: task for group in groups for key, task in group.items() if not store.finished(key)}
    reused = {
        key: task
        for group in by_depth(tasks)
        for key, task in group.items()
        if key not in wanted and store.finished(key)
    }
    run = _Run(store, workers, StoreWorkspace(store, device), wanted)
    clock = _Clock(run, store, workers.jobs, reused)
    with _watched(clock, observer):
        for group in groups:
            run.do([key for key in group if key in wanted])
    return Outcome(
        reused=tuple(reused),
        computed=tuple(key for key in wanted if store.finished(key)),
        failed=run.failures(),
        blocked=tuple(sorted(run.blocked)),
    )


def run_task(task: Task, workspace: StoreWorkspace, threads: int) -> None:
    """Run one task in this process, unless it is finished, and record its result or its error.

    Args:
        task: The task.
        workspace: Folders and device.
        threads: CPU threads that it may use.
    """
    store, key = workspace.store, task_key(task)
    with store.claimed(key):
        if store.finished(key):
            return
        store.begin(key, description(task))
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as noted, _threads(threads):
                warnings.simplefilter("always", UserWarning)
                # Through JSON at once: a result that is not plain JSON must fail here.
                result = json.loads(json.dumps(dict(task.run(workspace))))
        except Exception as error:
            # Whatever a task does, the others continue; the record has the full traceback.
            store.fail(key, {"error": _sentence(error), "traceback": traceback.format_exc()})
            return
        store.finish(
            key,
            {
                **description(task),
                "result": result,
                "notes": sorted({str(note.message) for note in noted}),
                "seconds": time.perf_counter() - began,
                "threads": threads,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )


class _Run:
    """One run: the tasks to compute, and what became of them so far."""

    def __init__(self, store: Store, workers: Workers, workspace: StoreWorkspace, wanted: Tasks) -> None:
        self.wanted = wanted
        self._store, self._workers, self._workspace = store, workers, workspace
        self.blocked: set[str] = set()
        self._done: dict[str, None] = {}  # an ordered set
        self._failed: dict[str, str] = {}  # with the error; another study may start to try again
        for key in wanted:
            store.forget(key)

    def do(self, keys: Sequence[str]) -> None:
        """Run the tasks of a group whose inputs are finished; after the death of a process continue with the others."""
        ready = [key for key in keys if not self._is_blocked(key)]
        while left := [key for key in ready if not self._ended(key)]:
            try:
                self._submit(left)
            except InputError:  # the folder cannot be written, which stops every task
                raise
            except Exception:
                # joblib gives up when a process dies, though most tasks did not cause it.
                suspects = [key for key in left if self._store.begun(key) and not self._ended(key)]
                if not suspects and not any(self._ended(key) for key in left):
                    raise
                for key in suspects:
                    self._try_alone(key)

    def failures(self) -> dict[str, str]:
        """Return the error of each failed task, in one sentence."""
        return dict(self._failed)

    def look(self) -> tuple[list[str], int, list[Task]]:
        """Return the finished tasks, the number of failed or blocked ones, and the others."""
        left = [task for key, task in self.wanted.items() if key not in self.blocked and not self._ended(key)]
        return list(self._done), len(self._failed) + len(self.blocked), left

    def _is_blocked(self, key: str) -> bool:
        """Return whether an input of a task is missing, and remember the answer."""
        if not all(self._store.finished(task_key(source)) for source in self.wanted[key].inputs):
            self.blocked.add(key)
        return key in self.blocked

    def _ended(self, key: str) -> bool:
        """Return whether a task is finished or failed in this run; once it is, the store is not read again."""
        if key not in self._done and key not in self._failed:
            if self._store.finished(key):
                self._done[key] = None
            elif (failure := self._store.failure(key)) is not None:
                self._failed[key] = failure["error"]
        return key in self._done or key in self._failed

    def _submit(self, keys: Sequence[str]) -> None:
        """Run tasks side by side."""
        self._workers.run(
            run_task, [(self.wanted[key], self._workspace, self._workers.threads) for key in keys]
        )

    def _try_alone(self, key: str) -> None:
        """Run a task alone, so that a death of its process is its own fault."""
        try:
            self._submit([key])
        except Exception as error:
            self._store.fail(key, {"error": _death(error), "traceback": f"{type(error).__name__}: {error}"})


class _Clock:
    """Estimates the remaining time from the finished tasks of each kind."""

    def __init__(self, run: _Run, store: Store, jobs: int, reused: Tasks) -> None:
        self._run, self._store, self._jobs = run, store, jobs
        self._seconds: dict[str, list[float]] = {}
        self._counted = 0  # how many of this run's finished tasks the estimate has
        self._began = time.monotonic()
        for key, task in reused.items():
            self._count(key, task)

    def progress(self) -> StudyProgress:
        """Return the progress of the run."""
        done, failed, left = self._run.look()
        for key in done[self._counted :]:
            self._count(key, self._run.wanted[key])
        self._counted = len(done)
        known = {kind: fmean(seconds) for kind, seconds in self._seconds.items()}
        guess = fmean(known.values()) if known else None
        return StudyProgress(
            total=len(self._run.wanted),
            done=len(done),
            failed=failed,
            running=min(self._jobs, len(left)),
            seconds=time.monotonic() - self._began,
            seconds_left=None
            if guess is None
            else sum(known.get(task.kind, guess) for task in left) / self._jobs,
        )

    def _count(self, key: str, task: Task) -> None:
        """Add the seconds of a finished task."""
        self._seconds.setdefault(task.kind, []).append(self._store.record(key)["seconds"])


@contextmanager
def _watched(clock: _Clock, observer: Callable[[StudyProgress], None] | None) -> Iterator[None]:
    """Report the progress to the observer, regularly and at the end."""
    if observer is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PROGRESS_SECONDS):
            observer(clock.progress())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        observer(clock.progress())


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Set the number of threads, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _death(error: Exception) -> str:
    """Return what became of a worker; each backend has its own error classes, told by their names."""
    if any(word in type(error).__name__ for word in ("Terminated", "Broken", "Killed", "Died", "Crashed")):
        return "The process that ran it died, perhaps out of memory: reduce --jobs."
    return _sentence(error)


def _sentence(error: Exception) -> str:
    """Return an error on one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}"
