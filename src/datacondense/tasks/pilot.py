"""What remains of a run of tasks, and its time and memory by a pilot: a short task of each kind, really run."""

import shutil
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.errors import InputError
from datacondense.tasks.memory import peak_memory
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import Task, graph_of, inputs_of, sources_of
from datacondense.tasks.workers import Submit, inline, processes

_SHORT, _LONG = 1, 4  # lengths of two pilots, whose difference gives the rate


class KindEstimate(NamedTuple):
    """The tasks of one kind: seconds of one, peak memory of its pilot's process in MiB; None if all are finished."""

    kind: str
    tasks: int
    finished: int
    seconds: float | None
    memory: float | None


class StudyEstimate(NamedTuple):
    """What remains of a study: seconds in all, each task timed alone, and a bound on MiB of all workers together."""

    kinds: Sequence[KindEstimate]
    jobs: int
    seconds: float
    memory: float


def estimate(
    tasks: Iterable[Task], store: Store, *, jobs: int, threads: int, device: str = "cpu"
) -> StudyEstimate:
    """Run a pilot of each kind of unfinished task, one after the other in another process, and extrapolate.

    Nothing is recorded: pilots run in a temporary folder, on short forms of their inputs.
    """
    tasks = list(tasks)
    graph, members, examples = graph_of(tasks), dict[str, list[str]](), dict[str, Task]()
    needed = [key for key in graph_of(tasks, store.finished) if not store.finished(key)]
    for key, task in graph.items():
        members.setdefault(task.label, []).append(key)
    for key in needed:
        examples.setdefault(graph[key].label, graph[key])
    with TemporaryDirectory() as folder, processes(1, threads) as alone:
        measured = {
            label: _measured(alone.submit, task, folder, threads, device) for label, task in examples.items()
        }
    kinds = [
        KindEstimate(
            kind=label,
            tasks=len(keys),
            finished=sum(map(store.finished, keys)),
            seconds=measured[label][0] if label in measured else None,
            memory=measured[label][1] if label in measured else None,
        )
        for label, keys in members.items()
    ]
    seconds = {key: measured[graph[key].label][0] for key in needed}
    longest: dict[str, float] = {}  # from the start to the end of each task, were there workers for all
    for key in needed:
        before = (longest.get(source.key, 0.0) for source in inputs_of(graph[key]))
        longest[key] = seconds[key] + max(before, default=0.0)
    return StudyEstimate(
        kinds=kinds,
        jobs=jobs,
        seconds=max(sum(seconds.values()) / jobs, max(longest.values(), default=0.0)),
        memory=jobs * max((memory for _, memory in measured.values()), default=0.0),
    )


def seconds_of(task: Task, threads: int, device: str) -> float:
    """Return the seconds that a task would take, by pilots in this process."""
    with TemporaryDirectory() as folder:
        return measure(task, folder, threads, device)[0]


def _measured(submit: Submit, task: Task, *others: Any) -> tuple[float, float]:
    """Time a task in another process, which may die of it."""
    try:
        found: Any = submit(measure, task, *others).result()
    except BrokenExecutor as error:
        raise InputError(
            f"The process that timed {task.label!r} died, perhaps out of memory: make the task smaller."
        ) from error
    seconds, memory = found
    return seconds, memory


def measure(task: Task, folder: str, threads: int, device: str) -> tuple[float, float]:
    """Return the seconds that a task would take, and the peak memory of this process meanwhile in MiB."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    workspace = Workspace(Store(Path(folder)), device)

    def seconds(length: int) -> float:
        pilot = pilot_of(task, length)
        outcome = schedule(inputs_of(pilot), workspace.store, inline(threads), device=device)
        for error in outcome.failed.values():
            raise InputError(error)
        shutil.rmtree(workspace.folder(pilot))  # what an earlier pilot left
        for source in sources_of(pilot):  # which this process then keeps
            source.read()
        began = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):  # the task's own run records them
            pilot.run(workspace)
        return time.perf_counter() - began

    with peak_memory(torch.device("cpu")) as memory:
        total = seconds(_SHORT)
        if task.length is not None:
            short, long = seconds(_SHORT), seconds(_LONG)  # the first one has warmed up
            rate = max(long - short, 0.0) / (_LONG - _SHORT)
            total = short + rate * max(task.length - _SHORT, 0.0)
    return total, memory["peak"]


def pilot_of(task: Task, length: int = _SHORT) -> Task:
    """Return a short form of a task, on short forms of its inputs."""

    def short(value: Any) -> Any:
        if isinstance(value, Task):
            return pilot_of(value)
        if isinstance(value, Mapping):
            return {name: short(each) for name, each in value.items()}
        return tuple(map(short, value)) if isinstance(value, tuple) else value

    pilot = task.shortened(length)  # first, since it may do without some inputs, or be one of them
    return replace(
        pilot, **{known.name: short(getattr(pilot, known.name)) for known in fields(pilot) if known.init}
    )
