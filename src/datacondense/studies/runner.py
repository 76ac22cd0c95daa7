"""Running cells: what is finished is kept, what fails is recorded, and nothing of it stops the rest."""

import json
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from datacondense.allocator import keep_freed_memory
from datacondense.errors import InputError
from datacondense.studies.store import Store
from datacondense.studies.task import Task, by_depth, description, task_key
from datacondense.studies.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_SECONDS_BETWEEN_LOOKS = 0.5

Tasks: TypeAlias = Mapping[str, Task]  # by key


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """How far a run of cells is.

    Attributes:
        total: Cells of the run, those that were finished before left out.
        done: Cells finished in it.
        failed: Cells that failed, and cells that cannot run because one of their inputs failed.
        running: Cells in work, at most.
        seconds: Time since it began.
        seconds_left: Estimate of what is left; None until a cell is finished.
    """

    total: int
    done: int
    failed: int
    running: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of cells came to.

    Attributes:
        reused: Keys of cells that were finished before.
        computed: Keys of cells finished now.
        failed: For each key of a failed cell, the error in a sentence.
        blocked: Keys of cells that were not run because one of their inputs failed.
    """

    reused: tuple[str, ...]
    computed: tuple[str, ...]
    failed: Mapping[str, str]
    blocked: tuple[str, ...]


@dataclass(frozen=True)
class StoreWorkspace:
    """Where the cells of a run find their folders and their device; see `Place`.

    Attributes:
        store: Where records are.
        device_name: Name of the device.
    """

    store: Store
    device_name: str

    @property
    def device(self) -> "torch.device":
        """Where to compute."""
        import torch  # noqa: PLC0415

        return torch.device(self.device_name)

    def folder(self, task: Task) -> Path:
        """Give the folder of a cell.

        Args:
            task: The cell.

        Returns:
            The folder, made where missing.
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
    """Run cells and all that they need; each cell that is finished, now or long ago, is run once only.

    Cells that failed before are tried again. A cell whose input fails is not run. What only finished cells need is not
    asked for.

    Args:
        tasks: What is wanted.
        store: Where records are.
        workers: Where cells run.
        device: Name of the device on which each computes.
        observer: Called now and then, from another thread.

    Returns:
        What was reused, computed and failed.
    """
    tasks = list(tasks)
    levels = by_depth(tasks, store.finished)
    wanted = {key: task for level in levels for key, task in level.items() if not store.finished(key)}
    reused = {
        key: task
        for level in by_depth(tasks)
        for key, task in level.items()
        if key not in wanted and store.finished(key)
    }
    run = _Run(store, workers, StoreWorkspace(store, device), wanted)
    clock = _Clock(run, store, workers.jobs, reused)
    with _watched(clock, observer):
        for level in levels:
            run.do([key for key in level if key in wanted])
    return Outcome(
        reused=tuple(reused),
        computed=tuple(key for key in wanted if store.finished(key)),
        failed=run.failures(),
        blocked=tuple(sorted(run.blocked)),
    )


def run_task(task: Task, place: StoreWorkspace, threads: int) -> None:
    """Run one cell in this process and record its result or its error; whoever finds it finished leaves it alone.

    Args:
        task: The cell.
        place: Folders and device.
        threads: Processor threads that it may use.
    """
    store, key = place.store, task_key(task)
    with store.claimed(key):
        if store.finished(key):
            return
        store.begin(key, description(task))
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as noted, _threads(threads):
                warnings.simplefilter("always", UserWarning)
                # Through JSON at once: a result that is none must fail here.
                result = json.loads(json.dumps(dict(task.run(place))))
        except Exception as error:
            # Whatever a cell does, the others go on; the error is recorded whole.
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
    """One run: what is wanted, and what was blocked on the way."""

    def __init__(self, store: Store, workers: Workers, place: StoreWorkspace, wanted: Tasks) -> None:
        self.wanted = wanted
        self._store, self._workers, self._place = store, workers, place
        self.blocked: set[str] = set()
        self._done: dict[str, None] = {}  # a set in order
        self._failed: dict[str, str] = {}  # with the error; another study may begin to try again
        for key in wanted:
            store.forget(key)

    def do(self, level: Sequence[str]) -> None:
        """Run the cells of a level whose inputs are there; after the death of a process go on with the others."""
        ready = [key for key in level if not self._is_blocked(key)]
        while left := [key for key in ready if not self._ended(key)]:
            try:
                self._submit(left)
            except InputError:  # the folder cannot be written: no other cell can do better
                raise
            except Exception:
                # joblib gives up when a process dies, though most cells are not to blame.
                suspects = [key for key in left if self._store.begun(key) and not self._ended(key)]
                if not suspects and not any(self._ended(key) for key in left):
                    raise
                for key in suspects:
                    self._try_alone(key)

    def failures(self) -> dict[str, str]:
        """Give the error of each cell that failed, in a sentence."""
        return dict(self._failed)

    def look(self) -> tuple[list[str], int, list[Task]]:
        """Find the cells that are done, count those that failed or were blocked, and list the others."""
        left = [task for key, task in self.wanted.items() if key not in self.blocked and not self._ended(key)]
        return list(self._done), len(self._failed) + len(self.blocked), left

    def _is_blocked(self, key: str) -> bool:
        """Tell whether an input of a cell is missing, and remember it."""
        if not all(self._store.finished(task_key(source)) for source in self.wanted[key].inputs):
            self.blocked.add(key)
        return key in self.blocked

    def _ended(self, key: str) -> bool:
        """Tell whether a cell is done or failed in this run; once it is, the store is not asked again."""
        if key not in self._done and key not in self._failed:
            if self._store.finished(key):
                self._done[key] = None
            elif (failure := self._store.failure(key)) is not None:
                self._failed[key] = failure["error"]
        return key in self._done or key in self._failed

    def _submit(self, keys: Sequence[str]) -> None:
        """Run cells side by side."""
        self._workers.run(run_task, [(self.wanted[key], self._place, self._workers.threads) for key in keys])

    def _try_alone(self, key: str) -> None:
        """Run a cell with no other beside it, so that a death is surely its own."""
        try:
            self._submit([key])
        except Exception as error:
            self._store.fail(key, {"error": _death(error), "traceback": f"{type(error).__name__}: {error}"})


class _Clock:
    """Estimates the time left from the cells of each kind that are finished."""

    def __init__(self, run: _Run, store: Store, jobs: int, reused: Tasks) -> None:
        self._run, self._store, self._jobs = run, store, jobs
        self._seconds: dict[str, list[float]] = {}
        self._learned = 0  # of the cells that this run has done
        self._began = time.monotonic()
        for key, task in reused.items():
            self._learn(key, task)

    def progress(self) -> StudyProgress:
        """Look how far the run is."""
        done, failed, left = self._run.look()
        for key in done[self._learned :]:
            self._learn(key, self._run.wanted[key])
        self._learned = len(done)
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

    def _learn(self, key: str, task: Task) -> None:
        """Take notice of a finished cell."""
        self._seconds.setdefault(task.kind, []).append(self._store.record(key)["seconds"])


@contextmanager
def _watched(clock: _Clock, observer: Callable[[StudyProgress], None] | None) -> "Iterator[None]":
    """Tell the observer how far things are, now and then and at the end."""
    if observer is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN_LOOKS):
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
def _threads(number: int) -> "Iterator[None]":
    """Compute with a number of threads, and as before afterwards."""
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _death(error: Exception) -> str:
    """Say what became of a worker; each engine has errors of its own for it, known by their names alone."""
    if any(word in type(error).__name__ for word in ("Terminated", "Broken", "Killed", "Died", "Crashed")):
        return "The process that ran it died, perhaps for want of memory: give fewer --jobs."
    return _sentence(error)


def _sentence(error: Exception) -> str:
    """Put an error on one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}"
