"""The cell that measures gradient noise, on the embedded digits."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datacondense.condensation import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.matching.decomposition import decompose
from datacondense.studies.cell import cell_key
from datacondense.studies.cells import CondenseCell
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.noise import NoiseCell
from datacondense.studies.runner import RunPlace, run_cell
from datacondense.studies.store import Store
from tests.studies.made_cells import MNIST

METHOD = GradientMatchingConfig(
    network="convnet-w4-d1", ipc=2, real_batch=4, precision="float32", engine="eager"
).resolved()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


@pytest.fixture
def place(tmp_path: Path) -> RunPlace:
    return RunPlace(Store(tmp_path), "cpu")


def made(data: DataSource, **changes: Any) -> NoiseCell:
    settings: dict[str, Any] = {"method": METHOD, "seed": 5, "num_networks": 3, "num_batches": 4, **changes}
    return NoiseCell(data=data, **settings)


def probed(cell: NoiseCell, images: Tensor | None = None) -> Tensor:
    """Take all gradients one by one."""
    built = cell.method.build(cell.data.read().train, cell.seed)
    images = built.init().images if images is None else images
    return torch.stack([
        torch.stack([built.probe(images, network=network, batch=batch) for batch in range(cell.num_batches)])
        for network in range(cell.num_networks)
    ])


def check(found: dict[str, Any], gradients: Tensor) -> None:
    """Compare a result with gradients `[R, D, K, S, C, H, W]`."""
    assert gradients.shape[:4] == (3, 4, 10, 2)
    assert found["all_classes"] == asdict(decompose(gradients))
    assert [one["name"] for one in found["classes"]] == list(map(str, range(10)))
    for label, one in enumerate(found["classes"]):
        assert one["parts"] == asdict(decompose(gradients[:, :, label]))


@pytest.mark.parametrize("transform", [(), ("max-pool-1", "keep-magnitude:0.25")])
def test_gradients_at_the_starting_images_are_split(
    digits: DataSource, place: RunPlace, transform: tuple[str, ...]
) -> None:
    cell = made(digits, method=replace(METHOD, transform=transform))
    found = dict(cell.run(place))
    check(found, probed(cell))
    assert found["gradient_seconds"] > 0
    assert found["environment"]["engine"] == "eager"
    assert found["environment"]["threads"] == 1


def test_gradients_at_learned_images_are_split(digits: DataSource, place: RunPlace) -> None:
    learned = CondenseCell(data=digits, method=METHOD, seed=5, draws=1)
    run_cell(learned, place, 1)
    cell = made(digits, at=learned)
    assert cell.inputs == (learned,)
    images = learned.image_set(place)
    assert images.labels.tolist() == [label for label in range(10) for _ in range(2)]
    check(dict(cell.run(place)), probed(cell, images.normalised().unflatten(0, (10, 2))))


def test_images_are_learned_and_measured_in_the_precision_that_is_asked_for(
    digits: DataSource, place: RunPlace
) -> None:
    learned = CondenseCell(data=digits, method=replace(METHOD, precision="float64"), seed=5, draws=1)
    run_cell(learned, place, 1)
    found = made(digits, method=learned.method, at=learned).run(place)
    assert found["environment"]["precision"] == "float64"


def test_a_gradient_of_which_nothing_is_left_has_no_shares(digits: DataSource, place: RunPlace) -> None:
    found = made(digits, method=replace(METHOD, transform=("keep-snr:1e+30",))).run(place)
    assert found["all_classes"] is None
    assert [one["parts"] for one in found["classes"]] == [None] * 10


def test_more_than_fits_is_refused_before_it_is_computed(
    digits: DataSource, place: RunPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = made(digits)
    monkeypatch.setattr("datacondense.studies.noise._MOST_NUMBERS", 3 * 4 * 10 * 2 * 64 - 1)
    monkeypatch.setattr(GradientMatchingConfig, "build", None)
    said = "3 networks × 4 batches of gradients for 2 images of each class are 15,360 numbers, but at most 15,359"
    for compute in (lambda: cell.run(place), lambda: cell.estimate(CPU)):
        with pytest.raises(InputError, match=said):
            compute()


def test_a_cell_is_known_by_all_that_changes_its_result() -> None:
    cell = made(MNIST)
    learned = CondenseCell(data=MNIST, method=METHOD, seed=5, draws=1)
    others = [
        replace(cell, seed=6),
        replace(cell, num_networks=4),
        replace(cell, num_batches=5),
        replace(cell, at=learned),
        replace(cell, at=replace(learned, draws=2)),
        replace(cell, method=replace(METHOD, transform=("max-pool-1",))),
        replace(cell, method=replace(METHOD, real_batch=8)),
        replace(cell, data=replace(MNIST, content={**MNIST.content, "train": "z"})),
    ]
    assert len({cell_key(one) for one in [cell, *others]}) == len(others) + 1
    same = [
        replace(cell, data=replace(MNIST, content={**MNIST.content, "test": "z"})),
        replace(cell, method=replace(METHOD, network="convnet-d1-w4")),
    ]
    assert {cell_key(one) for one in same} == {cell_key(cell)}


def test_kind_says_what_takes_time() -> None:
    cell = made(MNIST, method=replace(METHOD, transform=("wiener:4",)))
    assert cell.kind == "probe convnet-w4-d1, wiener:4, ipc 2, B = 4: 3 networks, 4 batches"


def test_an_estimate_is_near_the_real_seconds(digits: DataSource, place: RunPlace) -> None:
    cell = made(digits, num_networks=6)
    run_cell(cell, place, 1)
    seconds = place.store.record(cell_key(cell))["result"]["gradient_seconds"]
    assert 0.1 < cell.estimate(CPU) / seconds < 10
