"""The protocol against the same protocol written with torch's own optimiser, and the promises of a score."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, Score
from datacondense.evaluation.scoring import accuracy, evaluate, evaluate_one, resolved, train_one
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

QUICK = EvaluationConfig(network="mlp", repeats=3, epochs=4, augmentation="none", lr=0.1)


def by_hand(network: Network, images: ImageSet, config: EvaluationConfig, repeat: int) -> dict[str, Tensor]:
    """Write the protocol out: torch's SGD, a tenth of the learning rate after half of the epochs."""
    drawn = network.draw(seeded_generator(config.seed, "evaluation network", repeat))
    parameters = {name: value.requires_grad_() for name, value in drawn.items()}
    optimiser = torch.optim.SGD(
        list(parameters.values()), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    assert config.epochs is not None
    for epoch in range(config.epochs):
        optimiser.param_groups[0]["lr"] = config.lr * (0.1 if epoch >= config.epochs // 2 else 1)
        optimiser.zero_grad()
        F.cross_entropy(network(parameters, images.normalised()), images.labels).backward()
        optimiser.step()
    return {name: value.detach() for name, value in parameters.items()}


@pytest.mark.parametrize("epochs", [1, 4, 5])
def test_training_follows_the_protocol(tiny: ImageSet, epochs: int) -> None:
    config = replace(QUICK, epochs=epochs)
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    parameters, _ = train_one(network, tiny, config, repeat=1)
    for name, expected in by_hand(network, tiny, config, repeat=1).items():
        torch.testing.assert_close(parameters[name], expected, rtol=1e-5, atol=1e-6)


def test_accuracy_counts_right_answers(tiny: ImageSet) -> None:
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    parameters, buffers = train_one(network, tiny, QUICK, repeat=0)
    guesses = network(parameters, tiny.normalised()).argmax(1)
    expected = float((guesses == tiny.labels).float().mean())
    assert accuracy(network, parameters, buffers, tiny, tiny) == pytest.approx(expected)


def test_easy_classes_are_learned(make: MakeSet) -> None:
    score = evaluate(make(per_class=2), make(seed=5), replace(QUICK, epochs=60))
    assert score.mean > 0.95


def test_a_score_carries_every_accuracy_and_the_whole_protocol(tiny: ImageSet, make: MakeSet) -> None:
    seen: list[tuple[int, float]] = []
    test = make(seed=5)
    score = evaluate(tiny, test, QUICK, observer=lambda repeat, value: seen.append((repeat, value)))
    assert [value for _, value in seen] == list(score.accuracies)
    assert [repeat for repeat, _ in seen] == [0, 1, 2]
    assert score.n == 3
    assert score.mean == pytest.approx(sum(score.accuracies) / 3)
    assert score.protocol == QUICK
    assert score.trained_on == tiny.fingerprint
    assert score.tested_on == {"name": "made", "fingerprint": test.fingerprint, "num_images": 36}
    assert score.environment["threads"] == torch.get_num_threads()
    assert (score.environment["engine"], score.environment["precision"]) == ("eager", "float32")
    plain = json.loads(json.dumps(score.as_dict()))
    assert plain["protocol"]["epochs"] == 4
    assert plain["n"] == 3


def test_std_is_that_of_a_sample() -> None:
    score = Score(accuracies=(0.5, 0.7, 0.9), protocol=QUICK, trained_on="", tested_on={})
    assert score.mean == pytest.approx(0.7)
    assert score.std == pytest.approx(0.2)
    assert str(score) == "70.00 ± 20.00 % (n = 3)"
    assert replace(score, accuracies=(0.5,)).std == 0


def test_same_seed_same_score_and_networks_differ(make: MakeSet) -> None:
    images, test = make(per_class=1), make(seed=5, per_class=60)
    config = replace(QUICK, epochs=2, lr=0.001)
    assert evaluate(images, test, config).accuracies == evaluate(images, test, config).accuracies
    assert len(set(evaluate(images, test, config).accuracies)) > 1
    other = evaluate(images, test, replace(config, seed=1)).accuracies
    assert other != evaluate(images, test, config).accuracies


@pytest.mark.parametrize("augmentation", ["none", "crop-noise", "dsa:color-rotate"])
def test_each_network_can_be_had_alone_in_any_order(make: MakeSet, augmentation: str) -> None:
    images, test = make(per_class=1), make(seed=5, per_class=60)
    protocol = replace(QUICK, network="convnet-w4-d1", epochs=2, lr=0.001, augmentation=augmentation)
    expected = evaluate(images, test, protocol).accuracies
    assert len(set(expected)) > 1
    for repeat in (2, 0, 1):
        assert evaluate_one(images, test, protocol, repeat) == expected[repeat]
    # The number of networks beside it means nothing.
    assert evaluate_one(images, test, replace(protocol, repeats=1), 2) == expected[2]
    with pytest.raises(InputError, match=r"shape \(1, 8, 8\), but the test images are \(1, 9, 9\)"):
        evaluate_one(images, make(shape=(1, 9, 9)), protocol, 0)


def test_test_images_are_normalised_as_the_training_images_were(tiny: ImageSet, make: MakeSet) -> None:
    test = make(seed=5)
    strange = replace(test, mean=(0.9,), std=(0.01,))
    assert evaluate(tiny, strange, QUICK).accuracies == evaluate(tiny, test, QUICK).accuracies


@pytest.mark.parametrize("augmentation", ["crop-scale-rotate", "dsa:color-crop-cutout"])
def test_augmentation_changes_training_and_is_reproducible(tiny: ImageSet, augmentation: str) -> None:
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    augmented = replace(QUICK, augmentation=augmentation)
    plain, _ = train_one(network, tiny, QUICK, 0)
    first, _ = train_one(network, tiny, augmented, 0)
    second, _ = train_one(network, tiny, augmented, 0)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], plain[name]) for name in first)


def test_batch_norm_networks_learn_their_statistics(tiny: ImageSet) -> None:
    network = build_network("convnet-w4-d1-bn", tiny.image_shape, tiny.num_classes)
    _, buffers = train_one(network, tiny, QUICK, 0)
    initial = network.buffers()
    assert any(not torch.equal(buffers[name], initial[name]) for name in buffers if "running_mean" in name)


@pytest.mark.parametrize(
    ("record", "config", "expected"),
    [
        ({}, {}, ("convnet", "none", 300)),
        ({"settings": {"network": "convnet-w64-bn"}}, {}, ("convnet-w64", "none", 300)),
        ({"source": {"name": "mnist"}}, {}, ("convnet", "crop-scale-rotate", 1000)),
        ({"source": {"name": "mnist"}}, {"augmentation": "none"}, ("convnet", "none", 300)),
        ({"source": {"name": "cifar10"}}, {"augmentation": "crop-noise"}, ("convnet", "crop-noise", 1000)),
        (
            {"source": {"name": "mnist"}},
            {"augmentation": "dsa"},
            ("convnet", "dsa:color-crop-cutout-scale-rotate", 1000),
        ),
        (
            {"source": {"name": "cifar10"}},
            {"augmentation": "dsa"},
            ("convnet", "dsa:color-crop-cutout-flip-scale-rotate", 1000),
        ),
        ({}, {"augmentation": "dsa:flip-color"}, ("convnet", "dsa:color-flip", 1000)),
        ({}, {"epochs": 7, "network": "convnet-bn"}, ("convnet-bn", "none", 7)),
    ],
)
def test_defaults_follow_the_published_rules(
    tiny: ImageSet, record: dict[str, Any], config: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    protocol = resolved(EvaluationConfig(**config), replace(tiny, provenance=record))
    assert (protocol.network, protocol.augmentation, protocol.epochs) == expected


def test_the_published_numbers_are_the_defaults() -> None:
    config = EvaluationConfig()
    assert (config.lr, config.momentum, config.weight_decay, config.batch_size) == (0.01, 0.9, 5e-4, 256)
    assert config.repeats == 20


def test_other_shapes_and_classes_are_refused(tiny: ImageSet, make: MakeSet) -> None:
    with pytest.raises(InputError, match=r"shape \(1, 8, 8\), but the test images are \(1, 9, 9\).*--resize"):
        evaluate(tiny, make(shape=(1, 9, 9)), QUICK)
    with pytest.raises(
        InputError, match=r"class 0, class 1, class 2 \(3\), but the test images have .*\(4\)"
    ):
        evaluate(tiny, make(num_classes=4), QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": 0}, "repeats is 0, but must be 1 or more"),
        ({"epochs": 0}, "epochs is 0, but must be 1 or more"),
        ({"batch_size": 0}, "batch_size is 0, but must be 1 or more"),
        ({"lr": 0.0}, "lr is 0.0, but a learning rate must be above 0: the paper's is 0.01"),
        ({"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0, but must be at least 0"),
        ({"seed": -1}, "seed is -1"),
        ({"augmentation": "blur"}, "blur"),
        ({"augmentation": "dsa:blur"}, "'dsa:blur' is unknown"),
    ],
)
def test_wrong_protocols_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EvaluationConfig(**change)
