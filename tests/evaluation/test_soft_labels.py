"""What networks learn of a set with soft labels or several images in one, against torch's own optimiser."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.evaluation.full_training import FullTraining
from datacondense.evaluation.protocol import EvaluationConfig, ResolvedProtocol
from datacondense.evaluation.scoring import evaluate, resolved, train_one
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network
from datacondense.random import seeded_generator
from datacondense.tasks.task import recorded_settings
from tests.conftest import MakeSet

PROTOCOL = ResolvedProtocol(
    network="mlp", epochs=4, augmentation="none", lr=0.1, precision="float64", engine="eager", repeats=2
)


def softened(make: MakeSet, *, factor: int = 1, temperature: float | None = None) -> ImageSet:
    """Return a set with soft labels that seldom favour the class, and what it says of their temperature."""
    images = make(per_class=2)
    random = torch.rand(len(images) * factor**2, 3, generator=torch.Generator().manual_seed(2))
    record = {} if temperature is None else {"soft_labels": {"temperature": temperature}}
    provenance = {**images.provenance, **record}
    soft = random / random.sum(1, keepdim=True)
    return replace(images, soft_labels=soft, factor=factor, provenance=provenance)


def by_hand(network: Network, drawn: Any, inputs: Tensor, labels: Tensor, temperature: float) -> Any:
    """Write the protocol out: cross-entropy as a sum of labels times log-probabilities, and T²."""
    parameters = {name: value.double().requires_grad_() for name, value in drawn.items()}
    optimiser = torch.optim.SGD(list(parameters.values()), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(4):
        optimiser.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.01
        optimiser.zero_grad()
        log_probabilities = (network(parameters, inputs) / temperature).log_softmax(1)
        (-(labels * log_probabilities).sum(1).mean() * temperature**2).backward()
        optimiser.step()
    return {name: value.detach() for name, value in parameters.items()}


@pytest.mark.parametrize("full", [False, True], ids=["scored", "full"])
@pytest.mark.parametrize(
    ("factor", "change", "temperature"),
    [
        (1, {}, 1.0),
        (1, {"labels": "soft", "temperature": 4.0}, 4.0),
        (2, {"temperature": 0.5}, 0.5),
        (2, {"labels": "hard"}, 1.0),
        (1, {"labels": "hard", "temperature": 3.0}, 3.0),
    ],
)
def test_training_follows_the_labels(
    make: MakeSet, factor: int, change: dict[str, Any], temperature: float, full: bool
) -> None:
    images, protocol = softened(make, factor=factor), replace(PROTOCOL, **change)
    network, decoded = build_network("mlp", images.image_shape, 3), images.decoded()
    assert len(decoded) == 6 * factor**2
    labels = images.soft_labels
    if protocol.labels == "hard":
        labels = F.one_hot(decoded.labels, 3)
    assert labels is not None
    if full:
        training = FullTraining(images, protocol, 0)
        found = training.trained(training.start()).state.parameters
    else:
        found, _ = train_one(network, images, protocol, 0)
    purpose = "whole network" if full else "evaluation network"
    drawn = network.draw(seeded_generator(0, purpose, 0))
    expected = by_hand(network, drawn, decoded.normalised().double(), labels.double(), temperature)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("soft", 20.0)),
        ({"labels": "soft", "temperature": 2.0}, ("soft", 2.0)),
        ({"labels": "hard"}, ("hard", 1.0)),
    ],
)
def test_the_labels_follow_the_set(
    make: MakeSet, config: dict[str, Any], expected: tuple[str, float]
) -> None:
    images, given = softened(make, temperature=20.0), EvaluationConfig(**config)
    protocol = resolved(given, images)
    assert (protocol.labels, protocol.temperature) == expected
    # A protocol that was resolved without the set does the same.
    assert given.resolved().for_labels_of(images).temperature == expected[1]
    protocol = resolved(EvaluationConfig(), make())
    assert (protocol.labels, protocol.temperature) == ("hard", 1.0)


def test_a_score_is_that_of_the_stored_set(make: MakeSet) -> None:
    images = softened(make, factor=2)
    score = evaluate(images, make(seed=5), PROTOCOL)
    assert (score.protocol.labels, score.trained_on) == ("soft", images.fingerprint)
    decoded = evaluate(images.decoded(), make(seed=5), PROTOCOL)
    assert (decoded.accuracies, decoded.trained_on) == (score.accuracies, images.decoded().fingerprint)


def test_forgetting_is_counted_by_classes(make: MakeSet) -> None:
    images = softened(make, factor=2)
    training = FullTraining(images, replace(PROTOCOL, epochs=30), 0)
    trained = training.trained(training.start())
    assert len(trained.counts.scores()) == 24
    right = training.network(trained.state.parameters, images.decoded().normalised().double()).argmax(1)
    assert not torch.equal(right, images.decoded().labels)  # the labels lead elsewhere


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"labels": "soft"}, 'labels is "soft", but the set has class numbers only: leave it out'),
        ({"labels": "both"}, "labels is 'both', but must be 'auto', 'hard' or 'soft'"),
        ({"temperature": 0.0}, r"temperature is 0.0, but must be above 0 and below 3e38"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(
    tiny: ImageSet, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_one(build_network("mlp", (1, 8, 8), 3), tiny, replace(PROTOCOL, **config), 0)


def test_keys_of_recorded_tasks_do_not_know_of_labels() -> None:
    assert not {"labels", "temperature", "cutmix"} & recorded_settings(PROTOCOL).keys()
    told = recorded_settings(replace(PROTOCOL, labels="soft", temperature=2))
    assert (told["labels"], told["temperature"]) == ("soft", 2.0)
