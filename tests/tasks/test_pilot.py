"""Estimates of the remaining time and memory."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.studies import estimate as estimates
from datacondense.studies.estimate import estimate, measure
from datacondense.studies.running import estimate_study
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import task_key
from datacondense.studies.workers import WorkersConfig
from tests.studies.made_tasks import MadeTask


def made(name: str, log: Path, timed: float, kind: str, *inputs: MadeTask) -> MadeTask:
    return MadeTask(name=name, log=log, timed=timed, kind=kind, inputs=inputs)


def study(log: Path) -> Study:
    """Four tasks of 10 s, of which each of five others of 3 s needs one; and one that takes 100 s."""
    first = [made(f"a{n}", log, 10, "slow") for n in range(4)]
    second = [made(f"b{n}", log, 3, "quick", first[n % 4]) for n in range(5)]
    return Study(
        name="made",
        title="?",
        rows=("r",),
        columns=("c",),
        row_axis="",
        column_axis="",
        entries={("r", "c"): second},
        full=(made("w", log, 100, "long"),),
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the claimed seconds, and 10 MiB for each of them, without a process."""
    monkeypatch.setattr(estimates, "_measured", lambda task, threads, device: (task.timed, 10 * task.timed))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        (1, 4 * 10 + 100 + 5 * 3),
        (2, 100 + 5 * 3 / 2),  # 40 s of others beside the one that takes 100
        (20, 100 + 3),  # a group takes as long as its longest task
    ],
)
def test_groups_of_tasks_add_up(tmp_path: Path, jobs: int, seconds: float) -> None:
    found = estimate(study(tmp_path), Store(tmp_path), jobs=jobs, threads=1)
    assert found.seconds == seconds
    assert [(kind.kind, kind.tasks, kind.finished, kind.seconds, kind.memory) for kind in found.kinds] == [
        ("slow", 4, 0, 10, 100),
        ("long", 1, 0, 100, 1000),
        ("quick", 5, 0, 3, 30),
    ]


@pytest.mark.usefixtures("here")
def test_finished_tasks_are_not_counted(tmp_path: Path) -> None:
    made_study, store = study(tmp_path), Store(tmp_path)
    scores = made_study.entries["r", "c"]
    for task in (made_study.full[0], scores[0], scores[0].inputs[0]):
        store.finish(task_key(task), {})
    found = estimate(made_study, store, jobs=1, threads=1)
    assert found.seconds == 3 * 10 + 4 * 3
    assert [(kind.finished, kind.seconds) for kind in found.kinds] == [(1, 10), (1, None), (1, 3)]
    for task in made_study.tasks:
        for needed in (task, *task.inputs):
            store.finish(task_key(needed), {})
    done = estimate(made_study, store, jobs=2, threads=1)
    assert (done.seconds, done.memory) == (0, 0)


@pytest.mark.usefixtures("here")
def test_memory_is_that_of_tasks_that_run_at_once(tmp_path: Path) -> None:
    made_study = replace(study(tmp_path), full=())
    assert estimate(made_study, Store(tmp_path), jobs=1, threads=1).memory == 100
    assert estimate(made_study, Store(tmp_path), jobs=3, threads=1).memory == 300


def test_a_kind_is_timed_once_in_its_own_process(tmp_path: Path) -> None:
    made_study = replace(study(tmp_path / "log"), full=())
    sources: dict[str, Any] = {
        task_key(source): source for task in made_study.tasks for source in task.inputs
    }
    made_study = replace(made_study, entries={("r", "c"): list(sources.values())})
    found = estimate_study(made_study, tmp_path / "out", workers=WorkersConfig(jobs=2, threads=1))
    (kind,) = found.kinds
    assert (kind.tasks, kind.seconds, found.seconds) == (4, 10, 20)
    assert kind.memory is not None
    assert 50 < kind.memory < 4096
    assert list(tmp_path.iterdir()) == []  # nothing is run or written


def test_a_task_is_timed_with_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[tuple[int, str]] = []

    def timed(_: MadeTask, device: torch.device) -> float:
        seen.append((torch.get_num_threads(), str(device)))
        warnings.warn("for the record of a run", stacklevel=2)
        return 7.0

    monkeypatch.setattr(MadeTask, "estimate", timed)
    try:
        assert measure(made("a", tmp_path, 1, "slow"), before + 1, "meta")[0] == 7.0
    finally:
        torch.set_num_threads(before)
    assert seen == [(before + 1, "meta")]
