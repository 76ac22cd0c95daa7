"""Estimates of the remaining time and memory by pilots, which leave no trace."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datacondense.applications.continual_learning import LearnFromMemory
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.selection.by_network import Select
from datacondense.selection.full_tasks import ComputeFeatures, TrainFull
from datacondense.studies.noise import MeasureNoise
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate
from datacondense.tasks import pilot
from datacondense.tasks.pilot import estimate, measure, pilot_of
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import Task, inputs_of
from tests.tasks.made_tasks import INLINE, MNIST, MadeTask

METHOD = GradientMatchingConfig(network="convnet-w4-d1", matching_steps=2, real_batch=8).resolved()
PROTOCOL = EvaluationConfig(network="convnet-w4-d1", epochs=8, batch_size=64).resolved()
CONDENSE = Condense(data=MNIST, method=METHOD, seed=0, iterations=3)
SECONDS = {"slow": 10.0, "long": 100.0, "quick": 3.0}
clock = [0.0]
ran: list[tuple[int, int, str]] = []  # repetitions, threads and device


@dataclass(frozen=True, kw_only=True)
class Repeated(Task):
    """A task that takes 2 s for each repetition, and 50 s more when it first runs."""

    times: int
    source: "Repeated | None" = None

    @property
    def length(self) -> float:
        return self.times

    def shortened(self, length: int) -> "Repeated":
        return replace(self, times=length)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        assert self.times in {1, 4}, "not shortened"
        assert self.source is None or workspace.result(self.source)["times"] == 1
        assert not (workspace.folder(self) / "left").exists(), "another pilot left its files"
        (workspace.folder(self) / "left").touch()
        warnings.warn("for the record of a run", stacklevel=2)
        clock.append(clock[-1] + 2 * self.times + 50 * (len(ran) < 2))
        ran.append((self.times, torch.get_num_threads(), str(workspace.device)))
        return {"times": self.times}


def made_study() -> list[Task]:
    """Four tasks of 10 s, of which each of five others of 3 s needs one; and one that takes 100 s."""
    first = [MadeTask(name=f"a{n}", kind="slow") for n in range(4)]
    second = [MadeTask(name=f"b{n}", kind="quick", inputs=(first[n % 4],)) for n in range(5)]
    return [*second, MadeTask(name="w", kind="long")]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tasks take the seconds of their label, and 10 MiB for each second."""
    monkeypatch.setattr(
        pilot, "_measured", lambda _, task, *others: (SECONDS[task.label], 10 * SECONDS[task.label])
    )


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [(1, 4 * 10 + 100 + 5 * 3), (2, 100), (20, 100)],  # never less than the longest chain of tasks
)
def test_seconds_and_memory_add_up(tmp_path: Path, jobs: int, seconds: float) -> None:
    found = estimate(made_study(), Store(tmp_path), jobs=jobs, threads=1)
    assert (found.seconds, found.memory, found.jobs) == (seconds, jobs * 1000, jobs)
    assert [(kind.kind, kind.tasks, kind.finished, kind.seconds, kind.memory) for kind in found.kinds] == [
        ("slow", 4, 0, 10, 100),
        ("quick", 5, 0, 3, 30),
        ("long", 1, 0, 100, 1000),
    ]
    assert estimate(made_study()[:-1], Store(tmp_path), jobs=20, threads=1).seconds == 10 + 3


@pytest.mark.usefixtures("known")
def test_finished_tasks_are_not_counted(tmp_path: Path) -> None:
    tasks, store = made_study(), Store(tmp_path)
    for task in (tasks[-1], tasks[0], *inputs_of(tasks[0])):
        store.finish(task.key, {})
    found = estimate(tasks, store, jobs=1, threads=1)
    assert found.seconds == 3 * 10 + 4 * 3
    assert [(kind.finished, kind.seconds) for kind in found.kinds] == [(1, 10), (1, 3), (1, None)]
    for task in tasks:
        store.finish(task.key, {})
    done = estimate(tasks, store, jobs=2, threads=1)
    assert (done.seconds, done.memory) == (0, 0)


def test_a_pilot_runs_in_another_process_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    found = estimate([MadeTask(name="a"), MadeTask(name="b")], store, jobs=2, threads=1)
    (kind,) = found.kinds
    assert (kind.kind, kind.tasks, kind.finished) == ("made", 2, 0)
    assert 0 < (kind.seconds or 0) < 5
    assert 50 < (kind.memory or 0) == found.memory / 2 < 4096
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        InputError,
        match=r"^The process that timed 'made' died, perhaps out of memory: make the task smaller\.$",
    ):
        estimate([MadeTask(name="a", breaks="death at once")], store, jobs=1, threads=1)
    with pytest.raises(InputError, match=r"^a\s+is broken$"):
        measure(
            MadeTask(name="b", inputs=(MadeTask(name="a", breaks="InputError at once"),)),
            str(tmp_path),
            1,
            "cpu",
        )


def test_seconds_grow_with_the_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "time", SimpleNamespace(perf_counter=lambda: clock[-1]))
    before = torch.get_num_threads()
    ran.clear()
    try:
        task = Repeated(times=100, source=Repeated(times=7))
        seconds, memory = measure(task, str(tmp_path), before + 1, "meta")
    finally:
        torch.set_num_threads(before)
    assert seconds == 200
    assert memory > 50
    assert ran == [
        (times, before + 1, "meta") for times in (1, 1, 1, 4)
    ]  # the input, to warm up, short, long


def test_pilots_of_built_in_tasks_are_short() -> None:
    score = Evaluate(source=CONDENSE, data=MNIST, protocol=PROTOCOL, repeat=0)
    search = SearchLearningRate(scores={0.1: (score,), 3.0: (replace(score, repeat=1),)})
    short = replace(CONDENSE, method=replace(METHOD, matching_steps=1), iterations=1)
    four = replace(CONDENSE, method=replace(METHOD, matching_steps=4), iterations=1)
    timed = replace(
        CONDENSE, iterations=None, search=search, time_budget_from=replace(CONDENSE, search=search)
    )
    assert (CONDENSE.length, timed.length, score.length) == (6, 6, 2)
    assert pilot_of(CONDENSE) == pilot_of(replace(CONDENSE, search=search)) == pilot_of(timed) == short
    assert pilot_of(CONDENSE, 4) == pilot_of(timed, 4) == four
    plain = replace(CONDENSE, method=replace(METHOD, matching_steps=1))
    assert pilot_of(plain, 4) == replace(plain, iterations=4)
    assert pilot_of(score) == replace(score, source=short, protocol=replace(PROTOCOL, epochs=4))
    assert inputs_of(pilot_of(search)) == tuple(map(pilot_of, inputs_of(search)))
    learned = LearnFromMemory(stages=(MNIST,), memory=(CONDENSE,), protocol=PROTOCOL)
    assert learned.length == 8
    assert pilot_of(learned, 4) == replace(learned, memory=(short,), protocol=replace(PROTOCOL, epochs=4))


def test_an_estimate_is_near_the_real_seconds(tmp_path: Path) -> None:
    data = identified(DataSource(name="digits"))
    condensed = replace(CONDENSE, data=data, iterations=12)
    scored = Evaluate(source=condensed, data=data, protocol=replace(PROTOCOL, epochs=100), repeat=0)
    store = Store(tmp_path / "cells")
    schedule([scored], store, INLINE)
    for task in (condensed, scored):
        seconds = store.record(task.key)["seconds"]
        assert 0.1 < measure(task, str(tmp_path / "pilots"), 1, "cpu")[0] / seconds < 10


def test_every_built_in_task_has_a_pilot(tmp_path: Path) -> None:
    data = identified(DataSource(name="digits"))
    condensed = replace(CONDENSE, data=data)
    trained = TrainFull(data=data, protocol=replace(PROTOCOL, network="mlp"), repeat=0)
    features = ComputeFeatures(data=data, trained=trained)
    score = Evaluate(source=condensed, data=data, protocol=PROTOCOL, repeat=0)
    tasks = [
        replace(condensed, iterations=None, time_budget_from=condensed),
        SearchLearningRate(scores={0.1: (score,)}),
        trained,
        replace(trained, protocol=replace(trained.protocol, batch_size=5000)),
        Select(method="k-center", ipc=2, data=data, source=features),
        Select(method="forgetting", ipc=2, data=data, source=trained),
        MeasureNoise(data=data, method=METHOD, seed=0, num_networks=16, num_batches=8, at=condensed),
    ]
    for task in tasks:
        assert 0 < measure(task, str(tmp_path), 1, "cpu")[0] < 10
