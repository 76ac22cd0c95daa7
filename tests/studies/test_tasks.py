"""The tasks of studies on the embedded digits: what they record, and that an interrupted one continues."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import condense
from datacondense.condensation.progress import Progress
from datacondense.data.data_source import DataSource, identified
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import backend, evaluate
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder
from datacondense.selection.by_network import Select
from datacondense.selection.random import select_random
from datacondense.studies import tasks as studies_tasks
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate
from datacondense.tasks.scheduler import run_task, schedule
from datacondense.tasks.store import Store, Workspace
from tests.tasks.made_tasks import INLINE, MNIST

METHOD = GradientMatchingConfig(network="convnet-w4-d1", matching_steps=2, real_batch=8).resolved()
PROTOCOL = EvaluationConfig(network="convnet-w4-d1", epochs=3, repeats=3).resolved()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list that grows with every step that a run logs."""
    calls: list[Any] = []
    log = RunFolder.log

    def noted(*args: Any, **options: Any) -> None:
        calls.append(options)
        log(*args, **options)

    monkeypatch.setattr(RunFolder, "log", noted)
    return calls


def stopped_after(iteration: int) -> Callable[..., ImageSet]:
    """Return a `condense` during which Ctrl-C is pressed."""

    def stop(progress: Progress) -> None:
        if progress.step == (iteration, 0):
            raise KeyboardInterrupt

    return lambda *args, **options: condense(*args, **{**options, "observer": stop})


def steps(folder: Path) -> list[tuple[int, int]]:
    return [(entry["iteration"], entry["step"]) for entry in RunFolder(folder).metrics()]


def test_a_set_is_condensed_or_selected_and_then_scored(digits: DataSource, workspace: Workspace) -> None:
    condensed = Condense(data=digits, method=METHOD, seed=3, iterations=2)
    selected = Select(method="random", data=digits, ipc=2, seed=4)
    scored = [
        Evaluate(source=source, data=digits, protocol=PROTOCOL, repeat=k)
        for source in (condensed, selected)
        for k in (2, 0)
    ]
    outcome = schedule(scored, workspace.store, INLINE)

    assert (len(outcome.computed), outcome.failed) == (6, {})
    splits = digits.read()
    assert splits.test is not None
    sets = [task.image_set(workspace) for task in (condensed, selected)]
    assert [workspace.result(task)["fingerprint"] for task in (condensed, selected)] == [
        images.fingerprint for images in sets
    ]
    assert [images.class_sizes for images in sets] == [(1,) * 10, (2,) * 10]
    assert sets[1].fingerprint == select_random(splits.train, 2, 4).fingerprint
    for score in scored:
        result, images = workspace.result(score), score.source.image_set(workspace)
        expected = evaluate(images, splits.test, PROTOCOL)
        assert result["accuracy"] == expected.accuracies[score.repeat]
        used = backend(images, PROTOCOL, CPU)
        assert result["environment"] == {**expected.environment, "engine": used.engine}
    result = workspace.result(condensed)
    assert steps(workspace.folder(condensed)) == [(d, s) for d in range(2) for s in range(2)]
    assert result["loss"] == RunFolder(workspace.folder(condensed)).metrics()[-1]["loss"]
    assert result["condensing_seconds"] > 0
    assert result["environment"]["threads"] == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupted_run_continues_or_restarts_with_other_threads(
    digits: DataSource,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[Any],
    threads: int,
) -> None:
    task = Condense(data=digits, method=METHOD, seed=0, iterations=3)
    with monkeypatch.context() as patch:
        patch.setattr(studies_tasks, "condense", stopped_after(1))
        with pytest.raises(KeyboardInterrupt):
            run_task(task, workspace, 1)
    assert not workspace.store.finished(task.key)
    assert steps(workspace.folder(task)) == [(0, 0), (0, 1), (1, 0)]
    logged.clear()

    run_task(task, workspace, threads)

    assert workspace.store.failure(task.key) is None
    record = workspace.store.record(task.key)
    assert record["threads"] == record["result"]["environment"]["threads"] == threads
    assert len(logged) == (3 if threads == 1 else 6)
    assert steps(workspace.folder(task)) == [(d, s) for d in range(3) for s in range(2)]
    unbroken = Workspace(Store(tmp_path / "unbroken"))
    run_task(task, unbroken, threads)
    assert task.image_set(workspace).fingerprint == task.image_set(unbroken).fingerprint


def test_a_finished_set_without_record_is_not_condensed_again(
    digits: DataSource, workspace: Workspace, logged: list[Any]
) -> None:
    task = Condense(data=digits, method=METHOD, seed=0, iterations=1)
    run_task(task, workspace, 1)
    (workspace.folder(task) / "record.json").unlink()
    logged.clear()
    run_task(task, workspace, 1)
    assert workspace.store.finished(task.key)
    assert logged == []


@pytest.mark.parametrize(
    ("variant", "same"),
    [
        ({}, {"image_lr": 0.1, "matching_steps": 1, "network_epochs": 1, "iterations": 1000}),
        ({}, {"network": "convnet-relu"}),
        ({"ipc": 10}, {"ipc": 10, "matching_steps": 10, "network_epochs": 50}),
        ({"network": "mlp"}, {"network": "MLP", "image_lr": 0.01}),
    ],
)
def test_an_explicit_default_does_not_change_the_key(variant: dict[str, Any], same: dict[str, Any]) -> None:
    tasks = TaskFactory(data=MNIST, config=StudyConfig(seeds=1, repeats=1))
    (first,), (second,) = (tasks.scored(tasks.condensed(**changes)) for changes in (variant, same))
    protocol = {"network": first.protocol.network, "epochs": 1000, "augmentation": "crop-scale-rotate"}
    (explicit,) = tasks.scored(tasks.condensed(**variant), **protocol)
    assert first.key == second.key == explicit.key
    assert first.key != replace(first, repeat=1).key


def test_a_network_that_diverges_is_missing_and_says_why(digits: DataSource, workspace: Workspace) -> None:
    source = Select(method="random", data=digits, ipc=1, seed=4)
    wild = Evaluate(source=source, data=digits, protocol=replace(PROTOCOL, lr=1e30), repeat=0)
    outcome = schedule([wild], workspace.store, INLINE)
    assert outcome.failed == {}
    assert workspace.result(wild)["accuracy"] is None
    assert "Training diverged" in workspace.store.record(wild.key)["notes"][0]


def test_a_search_takes_the_best_rate_on_whose_sets_training_does_not_diverge(
    digits: DataSource, workspace: Workspace
) -> None:
    def scored(seed: int, lr: float) -> tuple[Evaluate, ...]:
        source = Select(method="random", data=digits, ipc=1, seed=seed)
        return (Evaluate(source=source, data=digits, protocol=replace(PROTOCOL, lr=lr), repeat=0),)

    wild, tame = scored(1, 1e30), scored(2, 0.01)
    search = SearchLearningRate(scores={0.5: wild, 0.1: tame})
    hopeless = SearchLearningRate(scores={0.5: wild})
    outcome = schedule([search, hopeless], workspace.store, INLINE)
    assert workspace.result(search)["image_lr"] == 0.1
    assert "Training diverged on the sets of every image learning rate (0.5)" in outcome.failed[hopeless.key]


def test_a_set_that_is_not_the_recorded_one_is_not_scored(digits: DataSource, workspace: Workspace) -> None:
    source = Select(method="random", data=digits, ipc=1, seed=4)
    other = Select(method="random", data=digits, ipc=1, seed=5)
    schedule([source, other], workspace.store, INLINE)
    other.image_set(workspace).save(workspace.folder(source) / "selected.safetensors")
    task = Evaluate(source=source, data=digits, protocol=PROTOCOL, repeat=0)
    outcome = schedule([task], workspace.store, INLINE)
    assert "holds another set than was recorded there: remove the folder" in outcome.failed[task.key]
