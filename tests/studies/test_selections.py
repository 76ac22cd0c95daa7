"""Images selected by forgetting, what every selection records, and the keys of old records."""

import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.selection.forgetting import select_forgetting
from datacondense.studies import selections
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.features import ComputeFeatures
from datacondense.studies.full_training import TrainFull
from datacondense.studies.memory import Memory
from datacondense.studies.runner import StoreWorkspace, run_tasks
from datacondense.studies.selections import SelectByFeatures, SelectForgetting
from datacondense.studies.store import Store
from datacondense.studies.task import Task, Workspace, task_key
from datacondense.studies.tasks import Evaluate, SetTask
from datacondense.studies.workers import Workers
from tests.studies.made_tasks import MNIST

PROTOCOL = ResolvedProtocol(
    network="mlp", epochs=4, augmentation="none", lr=0.03, batch_size=64, precision="float32", engine="eager"
)


@pytest.fixture(scope="module")
def data() -> DataSource:
    """The embedded digits."""
    return identified(DataSource(name="digits"))


@pytest.fixture
def workspace(tmp_path: Path) -> StoreWorkspace:
    """A folder of tasks."""
    return StoreWorkspace(Store(tmp_path / "cells"), "cpu")


def test_forgotten_images_are_selected_and_scored(data: DataSource, workspace: StoreWorkspace) -> None:
    trained = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    selected: SetTask = SelectForgetting(ipc=3, trained=trained)
    scored = Evaluate(source=selected, protocol=replace(PROTOCOL, epochs=2), repeat=0)
    outcome = run_tasks([scored], workspace.store, Workers("inline", 1, 1))
    assert (len(outcome.computed), outcome.failed) == (3, {})
    expected = select_forgetting(data.read().train, 3, trained.forgetting(workspace).scores())
    found = selected.image_set(workspace)
    assert found.provenance == {**expected.provenance, "settings": {"ipc": 3, "never_learned": "first"}}
    assert found.fingerprint == expected.fingerprint
    assert (selected.data, selected.ipc, selected.network) == (data, 3, None)


def test_only_the_selection_is_measured(
    data: DataSource, workspace: StoreWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TrainFull(data=data, protocol=replace(PROTOCOL, epochs=1), repeat=0)
    features = ComputeFeatures(trained=trained)
    run_tasks([features], workspace.store, Workers("inline", 1, 1))
    ticks = iter([10.0, 12.5] * 2)
    log: list[str] = []

    class Measured:
        """Notes when a measurement begins and ends."""

        def __init__(self, device: torch.device) -> None:
            assert device.type == "cpu"

        def __enter__(self) -> Memory:
            log.append("begin")
            return Memory(peak=300.4, added=20.6)

        def __exit__(self, *_: object) -> None:
            log.append("end")

    read_features, read_images = ComputeFeatures.features, DataSource.read

    def noted_features(task: ComputeFeatures, where: Workspace) -> torch.Tensor:
        log.append("features")
        return read_features(task, where)

    def noted_images(source: DataSource) -> object:
        log.append("images")
        return read_images(source)

    monkeypatch.setattr(ComputeFeatures, "features", noted_features)
    monkeypatch.setattr(DataSource, "read", noted_images)
    monkeypatch.setattr(selections, "peak_memory", Measured)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    expected = {"condensing_seconds": 2.5, "memory": {"peak": 300, "added": 21}}
    result = SelectByFeatures(method="herding", ipc=2, features=features).run(workspace)
    assert {name: result[name] for name in expected} == expected
    assert log == ["images", "begin", "features", "end"]
    result = SelectForgetting(ipc=2, trained=trained).run(workspace)
    assert {name: result[name] for name in expected} == expected


def test_keys_of_forgetting_differ_where_results_do() -> None:
    trained = TrainFull(data=MNIST, protocol=PROTOCOL, repeat=0)
    task = SelectForgetting(ipc=2, trained=trained)
    others: list[Task] = [
        task,
        replace(task, ipc=3),
        replace(task, trained=replace(trained, repeat=1)),
        SelectByFeatures(method="herding", ipc=2, features=ComputeFeatures(trained=trained)),
    ]
    assert len(set(map(task_key, others))) == 4
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert task_key(copy) == task_key(task)
    assert task.kind == "select by forgetting ipc 2"


def test_recorded_tasks_keep_their_names() -> None:
    trained = TrainFull(data=MNIST, protocol=PROTOCOL, repeat=0)
    features = ComputeFeatures(trained=trained)
    tasks: list[Task] = [trained, features]
    tasks += [SelectByFeatures(method="herding", ipc=2, features=features)]
    tasks += [SelectByFeatures(method="k-center", ipc=2, features=features)]
    assert [task_key(task) for task in tasks] == [
        "957e06a004b21126",
        "a569b9fc520c4e08",
        "1c02a7197257a26a",
        "c7c53a87a0ad6dcb",
    ]


def test_the_estimate_of_forgetting_is_near_the_truth(data: DataSource) -> None:
    task = SelectForgetting(ipc=2, trained=TrainFull(data=data, protocol=PROTOCOL, repeat=0))
    assert 0 < task.estimate(torch.device("cpu")) < 5
