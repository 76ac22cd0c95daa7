"""The shared tasks on the embedded digits: what they record, and that an interrupted one continues."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import backend, evaluate
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder
from datacondense.selection.random import select_random
from datacondense.studies import tasks as studies_tasks
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.runner import StoreWorkspace, run_task, run_tasks
from datacondense.studies.selections import SelectRandom
from datacondense.studies.store import Store
from datacondense.studies.task import task_key
from datacondense.studies.tasks import Condense, Evaluate
from tests.studies.made_tasks import INLINE

METHOD = GradientMatchingConfig(network="convnet-w4-d1", matching_steps=2, real_batch=8).resolved()
PROTOCOL = EvaluationConfig(network="convnet-w4-d1", epochs=3, repeats=3).resolved()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


@pytest.fixture
def workspace(tmp_path: Path) -> StoreWorkspace:
    return StoreWorkspace(Store(tmp_path), "cpu")


def stopped_after(iteration: int) -> Callable[..., ImageSet]:
    """Return a `condense` during which Ctrl-C is pressed."""

    def stop(progress: Progress) -> None:
        if progress.step == (iteration, 0):
            raise KeyboardInterrupt

    return lambda *args, **options: condense(*args, **{**options, "observer": stop})


def steps(folder: Path) -> list[tuple[int, int]]:
    return [(entry["iteration"], entry["step"]) for entry in RunFolder(folder).metrics()]


def test_a_set_is_condensed_or_selected_and_then_scored(
    digits: DataSource, workspace: StoreWorkspace
) -> None:
    condensed = Condense(data=digits, method=METHOD, seed=3, iterations=2)
    selected = SelectRandom(data=digits, ipc=2, seed=4)
    scores = [Evaluate(source=s, protocol=PROTOCOL, repeat=k) for s in (condensed, selected) for k in (2, 0)]

    outcome = run_tasks(scores, workspace.store, INLINE)

    assert (len(outcome.computed), outcome.failed) == (6, {})
    splits = digits.read()
    assert splits.test is not None
    for task in (condensed, selected):
        images = task.image_set(workspace)
        assert workspace.store.record(task_key(task))["result"]["fingerprint"] == images.fingerprint
        assert images.class_sizes == (task.ipc,) * 10
    assert selected.image_set(workspace).fingerprint == select_random(splits.train, 2, 4).fingerprint
    for score in scores:
        result = workspace.store.record(task_key(score))["result"]
        images = score.source.image_set(workspace)
        expected = evaluate(images, splits.test, PROTOCOL)
        assert result["accuracy"] == expected.accuracies[score.repeat]
        used = backend(images, PROTOCOL, CPU)
        assert result["environment"] == {**expected.environment, "engine": used.engine}
    result = workspace.store.record(task_key(condensed))["result"]
    assert steps(workspace.folder(condensed)) == [(d, s) for d in range(2) for s in range(2)]
    assert result["loss"] == RunFolder(workspace.folder(condensed)).metrics()[-1]["loss"]
    assert result["condensing_seconds"] > 0
    assert result["environment"]["threads"] == 1


@pytest.mark.parametrize(
    "threads",
    [
        1,
        2,
    ],
)
def test_an_interrupted_run_continues_or_restarts_with_other_threads(
    digits: DataSource,
    workspace: StoreWorkspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
) -> None:
    task = Condense(data=digits, method=METHOD, seed=0, iterations=3)
    with monkeypatch.context() as patch:
        patch.setattr(studies_tasks, "condense", stopped_after(1))
        with pytest.raises(KeyboardInterrupt):
            run_task(task, workspace, 1)
    assert not workspace.store.finished(task_key(task))
    assert steps(workspace.folder(task)) == [(0, 0), (0, 1), (1, 0)]
    began: list[Any] = []
    monkeypatch.setattr(RunFolder, "log", _counted(RunFolder.log, began))

    run_task(task, workspace, threads)

    assert workspace.store.failure(task_key(task)) is None
    record = workspace.store.record(task_key(task))
    assert record["threads"] == record["result"]["environment"]["threads"] == threads
    assert len(began) == (3 if threads == 1 else 6)
    assert steps(workspace.folder(task)) == [(d, s) for d in range(3) for s in range(2)]
    unbroken = StoreWorkspace(Store(tmp_path / "unbroken"), "cpu")
    run_task(task, unbroken, threads)
    assert task.image_set(workspace).fingerprint == task.image_set(unbroken).fingerprint


def test_a_finished_set_without_record_is_not_condensed_again(
    digits: DataSource, workspace: StoreWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Condense(data=digits, method=METHOD, seed=0, iterations=1)
    run_task(task, workspace, 1)
    (workspace.folder(task) / "record.json").unlink()
    began: list[Any] = []
    monkeypatch.setattr(RunFolder, "log", _counted(RunFolder.log, began))
    run_task(task, workspace, 1)
    assert workspace.store.finished(task_key(task))
    assert began == []


@pytest.mark.parametrize("network", ["convnet-w4-d1", "convnet-w32-d2"])
def test_an_estimate_is_near_the_real_seconds(
    digits: DataSource, workspace: StoreWorkspace, network: str
) -> None:
    condensed = Condense(data=digits, method=replace(METHOD, network=network), seed=0, iterations=12)
    scored = Evaluate(source=condensed, protocol=replace(PROTOCOL, network=network, epochs=100), repeat=0)
    for task in (condensed, scored):
        run_task(task, workspace, 1)
        seconds = workspace.store.record(task_key(task))["seconds"]
        assert 0.1 < task.estimate(CPU) / seconds < 10
    assert SelectRandom(data=digits, ipc=1, seed=0).estimate(CPU) > 0


def _counted(function: Callable[..., None], calls: list[Any]) -> Callable[..., None]:
    """Note every call."""

    def counted(*args: Any, **options: Any) -> None:
        calls.append(options)
        function(*args, **options)

    return counted
