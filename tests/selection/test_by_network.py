"""Coreset selection: the images, what is kept for the next selection, and what is refused at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacondense.cache import cache_folder
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.forgetting import select_forgetting
from datacondense.selection.herding import select_herding
from datacondense.selection.random import select_random
from datacondense.studies.data_source import DataSource
from datacondense.studies.full_training import TrainFull
from datacondense.studies.runner import StoreWorkspace, StudyProgress
from datacondense.studies.selection_config import METHODS, SelectionConfig, SelectionMethod
from datacondense.studies.selection_running import (
    select,
    selection_store,
    selection_task,
    training_to_do,
)
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

    def noted(task: TrainFull, workspace: Any) -> Any:
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
    selected = {method: select(data, config(method), cache=cache, observer=seen.append) for method in METHODS}
    assert len(trainings) == 1
    (trained,) = trainings
    workspace = StoreWorkspace(selection_store(cache), "cpu")
    expected: dict[SelectionMethod, ImageSet] = {
        "random": select_random(train, 2, 0),
        "forgetting": select_forgetting(train, 2, trained.forgetting(workspace).scores()),
        "forgetting-learned": select_forgetting(train, 2, trained.forgetting(workspace).scores("last")),
    }
    for method, images in expected.items():
        assert selected[method].fingerprint == images.fingerprint
        assert selected[method].provenance["indices"] == images.provenance["indices"]
    assert selected["random"].provenance == expected["random"].provenance
    for method in METHODS[1:]:
        record = selected[method].provenance
        assert record["method"] == method.removesuffix("-learned")
        assert record["trained"].items() >= {"network": "mlp", "epochs": 1, "seed": 0}.items()
        assert "repeats" not in record["trained"]
        assert len(record["indices"]) == 6
    assert {progress.total for progress in seen} == {1, 3}
    assert selection_store(cache).path == cache / "cells"


def test_the_network_is_identified_by_its_images_not_by_their_path(
    data: DataSource, tmp_path: Path, trainings: list[TrainFull]
) -> None:
    cache = tmp_path / "cache"
    select(data, config("forgetting"), cache=cache)
    select(write(tmp_path / "copy.npz", make_set()), config("forgetting"), cache=cache)
    assert len(trainings) == 1
    store = selection_store(cache)
    for other, settings in (
        (data, config("herding", epochs=2)),
        (data, config("herding", seed=1)),
        (write(tmp_path / "other.npz", make_set(seed=1)), config("herding")),
    ):
        assert training_to_do(selection_task(other, settings), store) is not None
    assert training_to_do(selection_task(data, config("herding")), store) is None
    assert training_to_do(selection_task(data, config("random")), store) is None


def test_herding_uses_the_trained_network(data: DataSource, tmp_path: Path) -> None:
    selected = select(data, config("herding"), cache=tmp_path)
    task = selection_task(data, config("herding"))
    features = task.inputs[0].features(StoreWorkspace(selection_store(tmp_path), "cpu"))  # type: ignore[attr-defined]
    expected = select_herding(load(data.name).train, 2, features)
    assert selected.provenance["indices"] == expected.provenance["indices"]


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


def test_a_network_that_does_not_fit_is_refused_before_any_training(data: DataSource, tmp_path: Path) -> None:
    wrong = SelectionConfig(method="forgetting", network="convnet-d9")
    with pytest.raises(InputError, match="convnet-d9"):
        selection_task(data, wrong)


def test_a_failure_names_its_cause_and_its_file(
    data: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: TrainFull, workspace: Any) -> Any:
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
        ({"seed": -1}, "seed is -1, but seeds are whole numbers from 0"),
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
    assert cache_folder() == tmp_path / "datacondense"
    assert selection_store().path == tmp_path / "datacondense" / "cells"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "datacondense"
