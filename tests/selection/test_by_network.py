"""Coreset selection: the images, what is kept for the next selection, and what is refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datacondense.cache import cache_folder
from datacondense.data.data_source import DataSource, identified
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import ImageSet
from datacondense.networks.features import features_of
from datacondense.selection import by_network
from datacondense.selection.by_network import (
    METHODS,
    Select,
    SelectionConfig,
    SelectionMethod,
    select,
    selection_store,
    selection_task,
    training_to_do,
)
from datacondense.selection.forgetting import select_forgetting
from datacondense.selection.full_tasks import ComputeFeatures, TrainFull
from datacondense.selection.herding import select_herding
from datacondense.selection.k_center import select_k_center
from datacondense.selection.random import select_random
from datacondense.selection.rded import select_rded
from datacondense.tasks.scheduler import StudyProgress, schedule
from datacondense.tasks.store import Workspace, store_in
from datacondense.tasks.workers import inline
from tests.conftest import make_set


def write(path: Path, images: ImageSet) -> DataSource:
    """Write training images alone, as npz."""
    np.savez(path, x_train=images.images[:, 0].numpy(), y_train=images.labels.numpy())
    return DataSource(name=str(path))


@pytest.fixture
def data(tmp_path: Path) -> DataSource:
    """Three classes of twelve images, without test images."""
    return write(tmp_path / "set.npz", make_set())


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[TrainFull]:
    """Tasks that trained."""
    begun: list[TrainFull] = []
    run = TrainFull.run

    def noted(task: TrainFull, workspace: Workspace) -> Any:
        begun.append(task)
        return run(task, workspace)

    monkeypatch.setattr(TrainFull, "run", noted)
    return begun


def config(method: SelectionMethod, ipc: int = 2, seed: int = 0, epochs: int = 1) -> SelectionConfig:
    return SelectionConfig(method=method, ipc=ipc, seed=seed, network="mlp", epochs=epochs)


def test_one_training_serves_all_selections(
    data: DataSource, tmp_path: Path, trainings: list[TrainFull]
) -> None:
    train, cache = load(data.name).train, tmp_path / "cache"
    seen: list[StudyProgress] = []
    selected = {m: select(data, config(m, seed=3), cache=cache, observer=seen.append) for m in METHODS}
    (trained,) = trainings
    workspace = Workspace(selection_store(cache))
    counts, rows = trained.forgetting(workspace), features_of(*trained.trained(workspace)[:2], train)
    expected: dict[SelectionMethod, ImageSet] = {
        "random": select_random(train, 2, 3),
        "herding": select_herding(train, 2, rows),
        "k-center": select_k_center(train, 2, rows),
        "forgetting": select_forgetting(train, 2, counts.scores()),
        "forgetting-learned": select_forgetting(train, 2, counts.scores("last")),
        "rded": select_rded(train, 2, trained.trained(workspace), 3),
    }
    assert selected.keys() == expected.keys()
    for method, images in expected.items():
        record = selected[method].provenance
        assert selected[method].fingerprint == images.fingerprint
        assert record["indices"] == images.provenance["indices"]
        assert record["method"] == method.removesuffix("-learned")
        if method != "random":
            assert record["trained"].items() >= {"network": "mlp", "epochs": 1, "seed": 3}.items()
            assert "repeats" not in record["trained"]
    assert selected["random"].provenance == expected["random"].provenance
    assert [selected[m].provenance["settings"].get("never_learned") for m in METHODS[3:5]] == [
        "first",
        "last",
    ]
    assert {progress.total for progress in seen} == {1, 3}


def test_a_network_is_identified_by_its_images_and_shared_with_studies(
    data: DataSource, tmp_path: Path, trainings: list[TrainFull]
) -> None:
    trained = TrainFull(
        data=identified(data, needs_test=False), protocol=config("herding").protocol(None), repeat=0
    )
    schedule([trained], store_in(tmp_path / "study"), inline(1))
    select(data, config("forgetting"), cache=tmp_path / "study")
    copy = write(tmp_path / "copy.npz", make_set())
    select(copy, config("forgetting"), cache=tmp_path / "study")
    assert len(trainings) == 1
    store = selection_store(tmp_path / "study")
    for other, settings in (
        (data, config("herding", epochs=2)),
        (data, config("herding", seed=1)),
        (write(tmp_path / "other.npz", make_set(seed=1)), config("herding")),
    ):
        assert training_to_do(selection_task(other, settings), store) is not None
    assert training_to_do(selection_task(data, config("herding")), store) is None
    assert training_to_do(selection_task(data, config("random")), store) is None


def test_features_are_those_of_the_network_with_its_buffers(tmp_path: Path) -> None:
    data = identified(DataSource(name="digits"))
    protocol = ResolvedProtocol(
        network="convnet-w4-d1-bn", epochs=1, augmentation="none", lr=0.03, batch_size=256
    )
    trained = TrainFull(data=data, protocol=protocol, repeat=0)
    features = ComputeFeatures(data=data, trained=trained)
    task = Select(method="herding", ipc=3, data=data, source=features)
    workspace = Workspace(store_in(tmp_path))
    assert not schedule([task], workspace.store, inline(1)).failed
    network, parameters, buffers = trained.trained(workspace)
    images = data.read().train
    rows = features_of(network, parameters, images, buffers).float()
    assert torch.equal(features.features(workspace), rows)
    assert not torch.allclose(features_of(network, parameters, images), rows)
    assert workspace.result(features)["features"] == rows.shape[1] == 4 * 4 * 4
    expected, found = select_herding(images, 3, rows), task.image_set(workspace)
    assert (found.fingerprint, found.provenance) == (expected.fingerprint, expected.provenance)
    assert workspace.result(task)["fingerprint"] == expected.fingerprint
    assert (task.ipc, task.network) == (3, None)


def test_only_the_selection_is_measured(
    data: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, workspace = selection_task(data, config("herding")), Workspace(store_in(tmp_path))
    schedule([task], workspace.store, inline(1))
    log: Any = []

    @contextmanager
    def measured(_: torch.device) -> Iterator[dict[str, int]]:
        log.append("begin")
        yield {"peak": 300, "added": 21}
        log.append("end")

    def noted(kind: Any, name: str) -> None:
        function = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *args: (log.append(name), function(*args))[1])

    noted(ComputeFeatures, "features")
    noted(DataSource, "read")
    monkeypatch.setattr(by_network, "peak_memory", measured)
    result = task.run(workspace)
    assert result["memory"] == {"peak": 300, "added": 21}
    assert 0 < result["condensing_seconds"] < 5
    assert log == ["read", "begin", "features", "end"]


@pytest.mark.parametrize("method", METHODS)
def test_too_many_images_are_refused_before_any_training(
    data: DataSource, tmp_path: Path, trainings: list[TrainFull], method: SelectionMethod
) -> None:
    with pytest.raises(
        InputError, match="ipc is 13, but the class '0' has 12 images to select from: give 1 to 12"
    ):
        select(data, config(method, ipc=13), cache=tmp_path / "cache")
    assert not trainings
    assert not (tmp_path / "cache").exists()


def test_a_file_of_a_teacher_that_is_not_there_is_refused_before_any_training(
    data: DataSource, tmp_path: Path, trainings: list[TrainFull]
) -> None:
    missing = replace(config("forgetting"), soft_labels=str(tmp_path / "teacher.safetensors"))
    with pytest.raises(InputError, match=r"There is no file .*teacher\.safetensors"):
        select(data, missing, cache=tmp_path / "cache")
    assert not trainings


def test_a_network_that_does_not_fit_is_refused_before_any_training(data: DataSource) -> None:
    with pytest.raises(InputError, match="convnet-d9"):
        selection_task(data, replace(config("forgetting"), network="convnet-d9"))


def test_a_failure_names_its_cause_and_its_file(
    data: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: TrainFull, workspace: Workspace) -> Any:
        raise RuntimeError("out of memory.")

    monkeypatch.setattr(TrainFull, "run", broken)
    with pytest.raises(InputError, match=r"^RuntimeError: out of memory \(.*failure\.json tells more\)\.$"):
        select(data, config("forgetting"), cache=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, "method is 'best': choose one of random, herding, k-center, forgetting"),
        ({"ipc": 0}, "ipc is 0, but must be 1 or more"),
        ({"epochs": 0}, "epochs is 0, but must be 1 or more"),
        ({"seed": -1}, "seed is -1, but must be 0 or more"),
        ({"network": "convnt"}, "convnt"),
        ({"augmentation": "shear"}, "shear"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SelectionConfig(**{"method": "herding", **settings})


def test_the_protocol_is_resolved_for_the_data_set() -> None:
    protocol = SelectionConfig(method="herding", seed=3).protocol("mnist")
    assert (protocol.network, protocol.epochs, protocol.seed) == ("convnet", 30, 3)
    assert protocol.augmentation == "crop-scale-rotate"
    assert SelectionConfig(method="herding", augmentation="none").protocol("mnist").augmentation == "none"


def test_the_cache_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert selection_store().path == tmp_path / "datacondense" / "cells"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "datacondense"
