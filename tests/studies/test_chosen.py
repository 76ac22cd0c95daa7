"""Images chosen by what a network forgot, what every choice records of itself, and the names of old records."""

import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datacondense.evaluation import EvaluationConfig
from datacondense.selection import select_forgetting
from datacondense.studies import chosen as choosing
from datacondense.studies.backends import Workers
from datacondense.studies.cell import Cell, Place, cell_key
from datacondense.studies.cells import EvaluateCell, SetCell
from datacondense.studies.chosen import ChosenCell, FeaturesCell, ForgettingCell
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.memory import Memory
from datacondense.studies.runner import RunPlace, run_cells
from datacondense.studies.store import Store
from datacondense.studies.whole import WholeCell
from tests.studies.made_cells import MNIST

RECIPE = EvaluationConfig(
    network="mlp", epochs=4, augmentation="none", lr=0.03, batch_size=64, precision="float32", engine="eager"
)


@pytest.fixture(scope="module")
def data() -> DataSource:
    """The embedded digits."""
    return identified(DataSource(name="digits"))


@pytest.fixture
def place(tmp_path: Path) -> RunPlace:
    """A folder of cells."""
    return RunPlace(Store(tmp_path / "cells"), "cpu")


def test_what_a_network_forgot_is_chosen_and_scored(data: DataSource, place: RunPlace) -> None:
    trained = WholeCell(data=data, recipe=RECIPE, repeat=0)
    chosen: SetCell = ForgettingCell(ipc=3, trained=trained)
    scored = EvaluateCell(source=chosen, recipe=replace(RECIPE, epochs=2), repeat=0)
    outcome = run_cells([scored], place.store, Workers("inline", 1, 1))
    assert (len(outcome.computed), outcome.failed) == (3, {})
    expected = select_forgetting(data.read().train, 3, trained.forgetting(place).scores())
    found = chosen.image_set(place)
    assert found.record == {**expected.record, "settings": {"ipc": 3, "never_learned": "first"}}
    assert found.fingerprint == expected.fingerprint
    assert (chosen.data, chosen.ipc, chosen.network) == (data, 3, None)


def test_the_choice_alone_is_measured(
    data: DataSource, place: RunPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = WholeCell(data=data, recipe=replace(RECIPE, epochs=1), repeat=0)
    features = FeaturesCell(trained=trained)
    run_cells([features], place.store, Workers("inline", 1, 1))
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

    read_features, read_images = FeaturesCell.features, DataSource.read

    def noted_features(cell: FeaturesCell, where: Place) -> torch.Tensor:
        log.append("features")
        return read_features(cell, where)

    def noted_images(source: DataSource) -> object:
        log.append("images")
        return read_images(source)

    monkeypatch.setattr(FeaturesCell, "features", noted_features)
    monkeypatch.setattr(DataSource, "read", noted_images)
    monkeypatch.setattr(choosing, "peak_memory", Measured)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    expected = {"condensing_seconds": 2.5, "memory": {"peak": 300, "added": 21}}
    result = ChosenCell(method="herding", ipc=2, features=features).run(place)
    assert {name: result[name] for name in expected} == expected
    assert log == ["images", "begin", "features", "end"]
    result = ForgettingCell(ipc=2, trained=trained).run(place)
    assert {name: result[name] for name in expected} == expected


def test_forgetting_cells_differ_where_their_results_do() -> None:
    trained = WholeCell(data=MNIST, recipe=RECIPE, repeat=0)
    cell = ForgettingCell(ipc=2, trained=trained)
    others: list[Cell] = [
        cell,
        replace(cell, ipc=3),
        replace(cell, trained=replace(trained, repeat=1)),
        ChosenCell(method="herding", ipc=2, features=FeaturesCell(trained=trained)),
    ]
    assert len(set(map(cell_key, others))) == 4
    copy = pickle.loads(pickle.dumps(cell))
    assert copy == cell
    assert cell_key(copy) == cell_key(cell)
    assert cell.kind == "choose by forgetting ipc 2"


def test_recorded_cells_keep_their_names() -> None:
    trained = WholeCell(data=MNIST, recipe=RECIPE, repeat=0)
    features = FeaturesCell(trained=trained)
    cells: list[Cell] = [trained, features]
    cells += [ChosenCell(method="herding", ipc=2, features=features)]
    cells += [ChosenCell(method="k-center", ipc=2, features=features)]
    assert [cell_key(cell) for cell in cells] == [
        "957e06a004b21126",
        "a569b9fc520c4e08",
        "1c02a7197257a26a",
        "c7c53a87a0ad6dcb",
    ]


def test_the_estimate_of_forgetting_is_near_the_truth(data: DataSource) -> None:
    cell = ForgettingCell(ipc=2, trained=WholeCell(data=data, recipe=RECIPE, repeat=0))
    assert 0 < cell.estimate(torch.device("cpu")) < 5
