"""The task that measures gradient noise, on the embedded digits."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datacondense.condensation.gradient_matching import GradientMatching, GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.matching.decomposition import decompose
from datacondense.studies.noise import MeasureNoise
from datacondense.studies.tasks import Condense
from datacondense.tasks.scheduler import run_task
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import inputs_of
from tests.tasks.made_tasks import MNIST

METHOD = GradientMatchingConfig(
    network="convnet-w4-d1", ipc=2, real_batch=4, precision="float32", engine="eager"
).resolved()


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path), "cpu")


def made(data: DataSource, **changes: Any) -> MeasureNoise:
    settings: dict[str, Any] = {"method": METHOD, "seed": 5, "num_networks": 3, "num_batches": 4, **changes}
    return MeasureNoise(data=data, **settings)


def probed(task: MeasureNoise, images: Tensor | None = None) -> Tensor:
    """Compute all gradients one by one."""
    built = task.method.build(task.data.read().train, task.seed)
    assert isinstance(built, GradientMatching)
    images = built.init().images if images is None else images
    return torch.stack([
        torch.stack([built.probe(images, network=network, batch=batch) for batch in range(task.num_batches)])
        for network in range(task.num_networks)
    ])


def check(found: dict[str, Any], gradients: Tensor) -> None:
    """Compare a result with gradients `[R, D, K, S, C, H, W]`."""
    assert gradients.shape[:4] == (3, 4, 10, 2)
    assert found["all_classes"] == asdict(decompose(gradients))
    assert [one["name"] for one in found["classes"]] == list(map(str, range(10)))
    for label, one in enumerate(found["classes"]):
        assert one["parts"] == asdict(decompose(gradients[:, :, label]))


@pytest.mark.parametrize("transform", [(), ("max-pool-1", "keep-magnitude:0.25")])
def test_gradients_at_the_initial_images_are_split(
    digits: DataSource, workspace: Workspace, transform: tuple[str, ...]
) -> None:
    task = made(digits, method=replace(METHOD, transform=transform))
    found = dict(task.run(workspace))
    check(found, probed(task))
    assert found["gradient_seconds"] > 0
    assert found["environment"]["engine"] == "eager"
    assert found["environment"]["threads"] == 1


def test_gradients_at_learned_images_are_split(digits: DataSource, workspace: Workspace) -> None:
    learned = Condense(data=digits, method=METHOD, seed=5, iterations=1)
    run_task(learned, workspace, 1)
    task = made(digits, at=learned)
    assert inputs_of(task) == (learned,)
    images = learned.image_set(workspace)
    assert images.labels.tolist() == [label for label in range(10) for _ in range(2)]
    check(dict(task.run(workspace)), probed(task, images.normalised().unflatten(0, (10, 2))))


def test_classes_may_have_learned_other_numbers_of_images(digits: DataSource, workspace: Workspace) -> None:
    method = replace(METHOD, ipc_of={"3": 1}, matching_steps=1)
    learned = Condense(data=digits, method=method, seed=5, iterations=1)
    run_task(learned, workspace, 1)
    images, stored = learned.image_set(workspace), torch.zeros(10, 2, 1, 8, 8)
    assert images.class_sizes == (2, 2, 2, 1, *(2,) * 6)
    for label, members in enumerate(images.class_indices):
        stored[label, : len(members)] = images.normalised(members)
    task = made(digits, method=method, at=learned, num_networks=2, num_batches=2)
    assert task.run(workspace)["all_classes"] == asdict(decompose(probed(task, stored)))


def test_images_are_learned_and_measured_in_the_given_precision(
    digits: DataSource, workspace: Workspace
) -> None:
    learned = Condense(data=digits, method=replace(METHOD, precision="float64"), seed=5, iterations=1)
    run_task(learned, workspace, 1)
    found = made(digits, method=learned.method, at=learned).run(workspace)
    assert found["environment"]["precision"] == "float64"


def test_a_zero_gradient_has_no_shares(digits: DataSource, workspace: Workspace) -> None:
    found = made(digits, method=replace(METHOD, transform=("keep-snr:1e+30",))).run(workspace)
    assert found["all_classes"] is None
    assert [one["parts"] for one in found["classes"]] == [None] * 10


def test_too_many_gradients_are_refused_before_they_are_computed(
    digits: DataSource, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = made(digits)
    monkeypatch.setattr("datacondense.studies.noise._MAX_NUMBERS", 3 * 4 * 10 * 2 * 64 - 1)
    monkeypatch.setattr(GradientMatchingConfig, "build", None)
    message = "3 networks × 4 batches of gradients for 2 images of each class are 15,360 numbers, but at most 15,359"
    with pytest.raises(InputError, match=message):
        task.run(workspace)


def test_a_key_depends_on_all_that_changes_the_result() -> None:
    task = made(MNIST)
    learned = Condense(data=MNIST, method=METHOD, seed=5, iterations=1)
    others = [
        replace(task, seed=6),
        replace(task, num_networks=4),
        replace(task, num_batches=5),
        replace(task, at=learned),
        replace(task, at=replace(learned, iterations=2)),
        replace(task, method=replace(METHOD, transform=("max-pool-1",))),
        replace(task, method=replace(METHOD, real_batch=8)),
        replace(task, data=replace(MNIST, content={**MNIST.content, "train": "z"})),
    ]
    assert len({one.key for one in [task, *others]}) == len(others) + 1
    same = [
        replace(task, data=replace(MNIST, content={**MNIST.content, "test": "z"})),
    ]
    assert {one.key for one in same} == {task.key}


def test_kind_names_what_determines_the_time() -> None:
    task = made(MNIST, method=replace(METHOD, transform=("wiener:4",)))
    assert task.label == "probe convnet-w4-d1, wiener:4, ipc 2, B = 4: 3 networks, 4 batches"
