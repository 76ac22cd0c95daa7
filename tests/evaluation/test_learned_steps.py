"""Training by learned steps, against the same steps written out, and what a set must have for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.progress import Progress
from datacondense.errors import InputError
from datacondense.evaluation.learned_steps import distilled_parameters
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import accuracy, evaluate, resolved, train_one
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.initial_values import with_xavier_values
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

NETWORK, IPC, EPOCHS, RUN_SEED = "convnet-w4-d1", 2, 2, 9
BY_STEPS = EvaluationConfig(network=NETWORK, repeats=3, learned_steps=True, precision="float64", seed=1)


def distilled(
    make: MakeSet, *, images_per_step: int = 1, rates: list[float], fixed: bool = False
) -> ImageSet:
    """Return a set whose provenance holds learned steps."""
    settings = {
        "network": NETWORK,
        "ipc": IPC,
        "images_per_step": images_per_step,
        "inner_epochs": EPOCHS,
        "fixed_network": fixed,
    }
    images = make(per_class=IPC)
    record = {"settings": settings, "run": {"seed": RUN_SEED}, "learned": {"step_lrs": rates}}
    return replace(images, images=images.pixels(), provenance={**images.provenance, **record})


def by_hand(start: Parameters, network: Network, images: ImageSet, images_per_step: int) -> Parameters:
    """Write the steps out: images of every class in order, a rate for each step, the images again in each epoch."""
    parameters = {name: value.double() for name, value in start.items()}
    rates = iter(images.provenance["learned"]["step_lrs"])
    for _ in range(EPOCHS):
        for first in range(0, IPC, images_per_step):
            positions = [
                label * IPC + number for label in range(3) for number in range(first, first + images_per_step)
            ]
            leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
            inputs = images.normalised(torch.tensor(positions)).double()
            loss = F.cross_entropy(network(leaves, inputs), images.labels[positions])
            slopes = torch.autograd.grad(loss, list(leaves.values()))
            lr = next(rates)
            parameters = {
                name: parameters[name] - lr * slope for name, slope in zip(parameters, slopes, strict=True)
            }
    assert not list(rates)
    return parameters


def assert_equal(found: Parameters, expected: Parameters) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("images_per_step", "rates"), [(1, [0.9, 0.1, 0.4, 0.02]), (2, [0.9, 0.3])], ids=["one", "two"]
)
@pytest.mark.parametrize("fixed", [False, True])
def test_training_equals_the_steps_by_hand(
    make: MakeSet, images_per_step: int, rates: list[float], fixed: bool
) -> None:
    images = distilled(make, images_per_step=images_per_step, rates=rates, fixed=fixed)
    network = build_network(NETWORK, images.image_shape, 3)
    protocol = resolved(BY_STEPS, images)
    for repeat in range(2):
        found, _ = train_one(network, images, protocol, repeat)
        key = (RUN_SEED, "network", 0) if fixed else (1, "evaluation network", repeat)
        expected = by_hand(network.draw(seeded_generator(*key)), network, images, images_per_step)
        assert_equal(found, expected)


def test_each_step_sees_all_images_that_its_own_are_decoded_to(make: MakeSet) -> None:
    images = replace(distilled(make, rates=[0.9, 0.1, 0.4, 0.02]), factor=2)
    network = build_network(NETWORK, images.image_shape, 3)
    found, _ = train_one(network, images, resolved(BY_STEPS, images), 0)
    decoded = images.decoded()
    expected = network.draw(seeded_generator(1, "evaluation network", 0))
    parameters = {name: value.double() for name, value in expected.items()}
    for number, lr in zip([0, 1] * EPOCHS, images.provenance["learned"]["step_lrs"], strict=True):
        # Four tiles of image 0, then of image 1, for each of the classes.
        positions = torch.tensor([label * 8 + number * 4 + tile for label in range(3) for tile in range(4)])
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        logits = network(leaves, decoded.normalised(positions).double())
        slopes = torch.autograd.grad(
            F.cross_entropy(logits, decoded.labels[positions]), list(leaves.values())
        )
        parameters = {
            name: parameters[name] - lr * slope for name, slope in zip(parameters, slopes, strict=True)
        }
    assert_equal(found, parameters)


def test_the_order_of_rates_and_images_matters(make: MakeSet) -> None:
    images = distilled(make, rates=[0.9, 0.1, 0.4, 0.02])
    network, protocol = build_network(NETWORK, images.image_shape, 3), resolved(BY_STEPS, images)
    found, _ = train_one(network, images, protocol, 0)
    backwards = replace(
        images, provenance={**images.provenance, "learned": {"step_lrs": [0.02, 0.4, 0.1, 0.9]}}
    )
    swapped = images.subset(torch.tensor([1, 0, 3, 2, 5, 4]))
    for other in (backwards, swapped):
        trained, _ = train_one(network, other, protocol, 0)
        assert not torch.allclose(trained["0.weight"], found["0.weight"], atol=1e-4)


def test_a_set_for_one_network_is_scored_on_that_one(make: MakeSet) -> None:
    images, test = distilled(make, rates=[0.3] * 4, fixed=True), make(seed=5, per_class=40)
    network = build_network(NETWORK, images.image_shape, 3)
    trained = [train_one(network, images, resolved(BY_STEPS, images), repeat)[0] for repeat in range(3)]
    for other in trained[1:]:
        assert all(torch.equal(other[name], value) for name, value in trained[0].items())
    score = evaluate(images, test, BY_STEPS)
    assert len(set(score.accuracies)) == 1
    # The seed of the evaluation has no effect here; that of the run that learned the set does.
    assert evaluate(images, test, replace(BY_STEPS, seed=7)).accuracies == score.accuracies
    record = {**images.provenance, "run": {"seed": RUN_SEED + 1}}
    elsewhere, _ = train_one(network, replace(images, provenance=record), resolved(BY_STEPS, images), 0)
    assert any(not torch.equal(elsewhere[name], value) for name, value in trained[0].items())


def test_the_fixed_network_is_the_first_of_the_run() -> None:
    network = build_network(NETWORK, (1, 8, 8), 3)
    found, expected = (
        distilled_parameters(network, RUN_SEED),
        network.draw(seeded_generator(RUN_SEED, "network", 0)),
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_fresh_networks_differ_between_repeats(make: MakeSet) -> None:
    images = distilled(make, rates=[0.01] * 4)
    network, protocol = build_network(NETWORK, images.image_shape, 3), resolved(BY_STEPS, images)
    first, second = (train_one(network, images, protocol, repeat)[0] for repeat in range(2))
    assert all(not torch.equal(first[name], second[name]) for name in first if name.startswith("0."))


def test_evaluation_takes_the_learned_steps(make: MakeSet) -> None:
    images, test = distilled(make, rates=[0.5, 0.3, 0.2, 0.1]), make(seed=5, per_class=40)
    network = build_network(NETWORK, images.image_shape, 3)
    score = evaluate(images, test, BY_STEPS)
    expected = []
    for repeat in range(3):
        start = network.draw(seeded_generator(1, "evaluation network", repeat))
        parameters = by_hand(start, network, images, 1)
        expected.append(accuracy(network, parameters, network.buffers(), test, images))
    assert score.accuracies == pytest.approx(expected)
    assert score.protocol.learned_steps
    # None of the settings of plain training matters.
    other = replace(BY_STEPS, lr=3.0, momentum=0.0, epochs=1, batch_size=1, augmentation="crop")
    assert evaluate(images, test, other).accuracies == score.accuracies
    plain = replace(BY_STEPS, learned_steps=False, epochs=1, lr=1e-6)
    assert evaluate(images, test, plain).accuracies != score.accuracies


@pytest.mark.parametrize(
    "change",
    [
        {"fixed_network": True},
        {"images_per_step": 2},
        {},
        {"initial_values": "default"},
        {"fixed_network": True, "learn_labels": True, "label_lr": 1.0, "factor": 2},
    ],
)
def test_training_by_learned_steps_is_what_was_differentiated(
    tiny: ImageSet, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The loss of the second update is that of all real images after training on the result of the first."""
    method = DatasetDistillationConfig(
        ipc=IPC,
        network=NETWORK,
        real_batch=36,
        inner_epochs=EPOCHS,
        step_lr=0.5,
        image_lr=0.1,
        precision="float64",
    )
    method = replace(method, **change)
    losses: list[float] = []

    def observe(progress: Progress) -> None:
        losses.append(progress.loss)

    condense(tiny, method, RunConfig(seed=RUN_SEED, iterations=2), observer=observe)
    condense(tiny, method, RunConfig(seed=RUN_SEED, iterations=1), directory=tmp_path)
    images = ImageSet.load(tmp_path / "condensed.safetensors")
    assert len(set(images.provenance["learned"]["step_lrs"])) == EPOCHS * IPC // method.images_per_step
    network = build_network(NETWORK, images.image_shape, 3)
    if method.fixed_network:
        parameters, _ = train_one(network, images, resolved(BY_STEPS, images), 0)
    else:
        network = network if method.initial_values == "default" else with_xavier_values(network)
        start = network.draw(seeded_generator(RUN_SEED, "network", 1))
        parameters = by_hand(start, network, images, method.images_per_step)
    loss: Tensor = F.cross_entropy(network(parameters, tiny.normalised().double()), tiny.labels)
    assert float(loss) == pytest.approx(losses[1], rel=1e-5)
    assert abs(losses[1] - losses[0]) > 1e-4


def test_fresh_networks_begin_as_those_that_the_set_was_learned_for(make: MakeSet) -> None:
    images = distilled(make, rates=[1e-9] * 4)
    xavier = {"settings": {**images.provenance["settings"], "initial_values": "xavier"}}
    network, protocol = build_network(NETWORK, images.image_shape, 3), resolved(BY_STEPS, images)
    for record, drawn in (({}, network), (xavier, with_xavier_values(network))):
        found, _ = train_one(
            network, replace(images, provenance={**images.provenance, **record}), protocol, 1
        )
        expected = drawn.draw(seeded_generator(1, "evaluation network", 1))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value.double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "change",
    [
        {"learned": {"step_lrs": [0.1] * 3}},
        {"learned": {"step_lrs": []}},
        {"settings": {"images_per_step": 0, "inner_epochs": 2}},
        {"settings": {}},
    ],
)
def test_learned_steps_that_do_not_fit_the_images_are_refused(make: MakeSet, change: dict[str, Any]) -> None:
    images = distilled(make, rates=[0.3] * 4)
    images = replace(images, provenance={**images.provenance, **change})
    with pytest.raises(
        InputError, match=r"The set says \d learned steps, but 6 images .* make \d+: it is damaged"
    ):
        evaluate(images, make(seed=5), BY_STEPS)


@pytest.mark.parametrize("record", [{}, {"settings": {"network": "mlp"}}, {"learned": {}}])
def test_a_set_without_learned_steps_is_refused(make: MakeSet, record: dict[str, Any]) -> None:
    images = replace(make(per_class=1), provenance=record)
    with pytest.raises(
        InputError,
        match=r"learned_steps is on, but the set has no learned learning rates: only .* leave it out for others",
    ):
        evaluate(images, make(seed=5), BY_STEPS)
