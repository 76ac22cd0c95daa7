"""Run tasks as soon as their inputs are finished: results are kept, and no failure stops what does not need it."""

import json
import shutil
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from statistics import fmean
from typing import Any, NamedTuple

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.cache import cache_folder
from datacondense.data.data_source import DataSource, origin, provide
from datacondense.data.splits import DataSplits
from datacondense.errors import InputError
from datacondense.locking import locked
from datacondense.networks.torch_state import deterministic
from datacondense.tasks.store import Files, Store, Workspace
from datacondense.tasks.task import Task, description, graph_of, inputs_of, sources_of
from datacondense.tasks.workers import Gpus, Workers, inline

_PROGRESS_SECONDS = 0.5


class StudyProgress(NamedTuple):
    """Progress of the tasks that were not finished before; `failed` counts those that cannot run, too."""

    total: int
    done: int
    failed: int
    running: int
    seconds: float  # since the start
    seconds_left: float | None  # None until a task is finished


class Outcome(NamedTuple):
    """The outcome of a run of tasks: keys of those finished before, finished now, failed, or without a needed input."""

    reused: tuple[str, ...]
    computed: tuple[str, ...]
    failed: Mapping[str, str]  # with the error in one sentence
    blocked: tuple[str, ...]


Observer = Callable[[StudyProgress], None]


def schedule(
    tasks: Iterable[Task],
    store: Store,
    workers: Workers,
    *,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Outcome:
    """Run tasks and all that they need; no finished task is run again, nor is one that only finished tasks need.

    Tasks that failed before are tried again. Where the caller computes deterministically, tasks do. The observer is
    called regularly, from another thread.
    """
    tasks = list(tasks)
    workspace = Workspace(store, device, torch.are_deterministic_algorithms_enabled())
    run = _Run(tasks, store, workers, workspace)
    with _watched(run.progress, observer):
        run.finish()
    reused = tuple(key for key in graph_of(tasks) if key not in run.wanted and store.finished(key))
    return Outcome(
        reused=reused, computed=tuple(run.done), failed=run.failed, blocked=tuple(sorted(run.blocked))
    )


def run_task(task: Task, workspace: Workspace, threads: int, gpu: int | None = None) -> None:
    """Run one task in this process, unless it is finished, and record its result or its error.

    Where a GPU is given, it is what "cuda" means to the task, which goes on with another one if it is stopped.
    """
    store, key = workspace.store, task.key
    with store.claimed(key):
        if store.finished(key):
            return
        store.begin(key, description(task))
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as noted, _set_up(threads, workspace, gpu):
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
                **({} if gpu is None else {"gpu": gpu}),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )


def run_elsewhere(
    task: Task,
    inputs: Mapping[str, Files],
    workspace: Workspace,
    threads: int,
    *data: tuple[DataSource, DataSplits | None],
) -> Files:
    """Run one task in a process that shares no folder with the study, and return what its folder holds then.

    It computes in a folder of the cache, where it goes on after the process was killed.
    """
    for source, splits in data:
        if splits is not None:
            provide(source, splits)
    store = Store(cache_folder() / "tasks" / task.key)
    with locked(store.path.with_suffix(".lock"), wait=True):
        for key, files in inputs.items():
            store.take(key, files)
        run_task(task, replace(workspace, store=store), threads)
        found = store.files(task.key)
        shutil.rmtree(store.path)
    return found


class _Run:
    """One run: the tasks to compute, and what became of them so far."""

    def __init__(self, tasks: Iterable[Task], store: Store, workers: Workers, workspace: Workspace) -> None:
        self._store, self._workers, self._workspace = store, workers, workspace
        graph = graph_of(tasks, store.finished)
        self.wanted = {key: task for key, task in graph.items() if not store.finished(key)}
        self.done: list[str] = []
        self.failed: dict[str, str] = {}  # with the error; another study may start to try again
        self.blocked: set[str] = set()
        self._running: dict[Future[Any], str] = {}
        self._shared: dict[DataSource, Any] = {}  # what stands for images that workers have
        self._gpus = Gpus(workers.gpus)
        self._at_work: set[str] = set()  # inline a task is at work before it has a future
        self._ready: deque[str] = deque()
        self._suspects: deque[str] = deque()  # to be run alone, since the process of each died
        self._tried_alone: set[str] = set()
        self._seconds: dict[str, list[float]] = {}  # of finished tasks, by label
        self._began = time.monotonic()
        for key, task in graph.items():
            if key in self.wanted:
                store.forget(key)
            else:
                self._count(task)

    def finish(self) -> None:
        """Run every task that can run."""
        needed = {
            key: [source.key for source in inputs_of(task) if source.key in self.wanted]
            for key, task in self.wanted.items()
        }
        sorter = TopologicalSorter(needed)
        sorter.prepare()
        while sorter.is_active():
            for key in sorter.get_ready():
                if any(source in self.failed or source in self.blocked for source in needed[key]):
                    self.blocked.add(key)
                    sorter.done(key)
                else:
                    self._ready.append(key)
            self._start()
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                key = self._running.pop(future)
                self._at_work.discard(key)
                self._gpus.free(key)
                if self._ended(key, future):
                    sorter.done(key)

    def progress(self) -> StudyProgress:
        """Return the progress so far."""
        # Ctrl-C may have come between a list and its first entry.
        known = {label: fmean(seconds) for label, seconds in list(self._seconds.items()) if seconds}
        guess = fmean(known.values()) if known else None
        over = {*self.done, *self.failed, *self.blocked}
        left = None
        if guess is not None:
            each = (known.get(task.label, guess) for key, task in self.wanted.items() if key not in over)
            left = sum(each) / self._workers.jobs
        return StudyProgress(
            total=len(self.wanted),
            done=len(self.done),
            failed=len(self.failed) + len(self.blocked),
            running=len(self._at_work),
            seconds=time.monotonic() - self._began,
            seconds_left=left,
        )

    def _start(self) -> None:
        """Submit as many tasks as may run at once; a suspect runs alone, so that a death is its own fault."""
        while self._ready and not self._suspects and len(self._running) < self._workers.jobs:
            self._submit(self._ready.popleft())
        if self._suspects and not self._running:
            key = self._suspects.popleft()
            self._tried_alone.add(key)
            self._submit(key)

    def _submit(self, key: str) -> None:
        self._at_work.add(key)
        task, threads, gpu = self.wanted[key], self._workers.threads, self._gpus.take(key)
        if self._workers.share is None or task.runs_here:
            submit = inline(threads).submit if task.runs_here else self._workers.submit
            future = submit(run_task, task, self._workspace, threads, gpu)
        else:
            inputs = {each.key: self._store.files(each.key) for each in inputs_of(task)}
            data = [self._handle(origin(source)) for source in sources_of(task)]
            future = self._workers.submit(run_elsewhere, task, inputs, self._workspace, threads, *data)
        self._running[future] = key

    def _handle(self, source: DataSource) -> Any:
        """Return what stands for the images of a data set, and for its name, among the arguments of a task."""
        assert self._workers.share is not None
        if source not in self._shared:
            # Images that stay on disk are too many to send: workers read them by themselves.
            splits = None if source.config.cache else source.read()
            self._shared[source] = self._workers.share((source, splits))
        return self._shared[source]

    def _ended(self, key: str, future: "Future[Any]") -> bool:
        """Note what became of a task; False if its process died, so that it must be tried once more."""
        error = future.exception()
        if isinstance(error, InputError):  # the folder cannot be written, which stops every task
            raise error
        if error is not None:
            self._shared.clear()  # a worker that died may have had the only copy
        elif (files := future.result()) is not None:
            with self._store.claimed(key):
                if not self._store.finished(key):
                    self._store.take(key, files)
        if error is not None and not self._store.finished(key):
            if key not in self._tried_alone:
                self._suspects.append(key)
                return False
            self._store.fail(key, {"error": _death(error), "traceback": f"{type(error).__name__}: {error}"})
        if self._store.finished(key):
            self.done.append(key)
            self._count(self.wanted[key])
        else:
            failure = self._store.failure(key) or {"error": "Another study tries it again."}
            self.failed[key] = failure["error"]
        return True

    def _count(self, task: Task) -> None:
        """Add the seconds of a finished task to those of its label."""
        self._seconds.setdefault(task.label, []).append(self._store.record(task.key)["seconds"])


@contextmanager
def _watched(progress: Callable[[], StudyProgress], observer: Observer | None) -> Iterator[None]:
    """Report the progress to the observer, regularly and at the end."""
    if observer is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PROGRESS_SECONDS):
            observer(progress())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        observer(progress())


@contextmanager
def _set_up(threads: int, workspace: Workspace, gpu: int | None) -> Iterator[None]:
    """Set what a task computes with, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    keep_freed_memory()
    try:
        with ExitStack() as switched:
            if workspace.deterministic:
                switched.enter_context(deterministic())
            # Kernels start on the current GPU, wherever their tensors are.
            if workspace.device.type == "cuda":
                switched.enter_context(torch.cuda.device(workspace.device if gpu is None else gpu))
            yield
    finally:
        torch.set_num_threads(before)


def _death(error: BaseException) -> str:
    """Return what became of a worker; each backend has its own error classes, told by their names."""
    if any(word in type(error).__name__ for word in ("Terminated", "Broken", "Killed", "Died", "Crashed")):
        return "The process that ran it died, perhaps out of memory: reduce --jobs."
    return _sentence(error)


def _sentence(error: BaseException) -> str:
    """Return an error on one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}"
