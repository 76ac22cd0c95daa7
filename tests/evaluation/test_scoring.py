"""The protocol against the same protocol written with torch's own optimiser, and the promises of a score."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.augment.strategies import changed
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, ResolvedProtocol, Score
from datacondense.evaluation.scoring import evaluate, evaluate_one, resolved, train_one
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

QUICK = ResolvedProtocol(network="mlp", repeats=3, epochs=4, augmentation="none", lr=0.1)


def by_hand(network: Network, images: ImageSet, config: EvaluationConfig, repeat: int) -> dict[str, Tensor]:
    """Write the protocol out: torch's SGD, a tenth of the learning rate after half of the epochs."""

    def generator(purpose: str) -> torch.Generator:
        return seeded_generator(config.seed, f"evaluation {purpose}", repeat)

    drawn = network.draw(generator("network"))
    parameters = {name: value.double().requires_grad_() for name, value in drawn.items()}
    optimiser = torch.optim.SGD(
        list(parameters.values()), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    order, change = generator("order"), generator("augmentation")
    inputs = images.normalised().double()
    assert config.epochs is not None
    assert config.augmentation is not None
    for epoch in range(config.epochs):
        optimiser.param_groups[0]["lr"] = config.lr * (0.1 if epoch >= config.epochs // 2 else 1)
        positions = torch.arange(len(images))
        if config.batch_size < len(images):
            positions = torch.randperm(len(images), generator=order)
        for batch in positions.split(config.batch_size):
            optimiser.zero_grad()
            seen, targets = changed(
                config.augmentation,
                inputs[batch],
                images.labels[batch],
                generator=change,
                num_classes=3,
                cutmix=config.cutmix,
            )
            F.cross_entropy(network(parameters, seen), targets).backward()
            optimiser.step()
    return {name: value.detach() for name, value in parameters.items()}


@pytest.mark.parametrize("batch_size", [10, 256])
@pytest.mark.parametrize("augmentation", ["none", "crop-scale-rotate", "dsa:color-crop-cutout"])
@pytest.mark.parametrize("epochs", [1, 4, 5])
def test_training_follows_the_protocol(
    tiny: ImageSet, epochs: int, augmentation: str, batch_size: int
) -> None:
    config = replace(
        QUICK, epochs=epochs, augmentation=augmentation, batch_size=batch_size, precision="float64"
    )
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    for repeat in range(2):
        parameters, _ = train_one(network, tiny, config, repeat)
        for name, expected in by_hand(network, tiny, config, repeat).items():
            torch.testing.assert_close(parameters[name], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("soft", [False, True])
def test_batches_are_mixed_after_their_augmentation(tiny: ImageSet, soft: bool) -> None:
    config = replace(QUICK, augmentation="idc:color-scale-flip", cutmix=0.5, batch_size=10)
    config = replace(config, precision="float64")
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    images = replace(tiny, soft_labels=F.one_hot(tiny.labels, 3).float()) if soft else tiny
    parameters, _ = train_one(network, images, config, 1)
    for name, expected in by_hand(network, tiny, config, 1).items():
        torch.testing.assert_close(parameters[name], expected, rtol=1e-9, atol=1e-10)
    plain, _ = train_one(network, tiny, replace(config, cutmix=0.0), 1)
    assert not any(torch.allclose(parameters[name], value) for name, value in plain.items())


def noisy(make: MakeSet, per_class: int) -> ImageSet:
    """Test images of any brightness, more than one pass takes: the smallest change of a network is seen."""
    number = 3 * per_class
    noise = torch.randint(0, 256, (number, 1, 8, 8), generator=torch.Generator().manual_seed(5))
    noise = (noise * torch.linspace(0, 1, number)[:, None, None, None]).to(torch.uint8)
    return replace(make(per_class=per_class), images=noise, mean=(0.9,), std=(0.01,))


@pytest.mark.parametrize("augmentation", ["none", "crop-noise"])
def test_accuracies_equal_those_of_the_protocol_by_hand(
    tiny: ImageSet, make: MakeSet, augmentation: str
) -> None:
    test = noisy(make, 401)
    config = replace(QUICK, augmentation=augmentation, batch_size=10, seed=4, precision="float64")
    network = build_network("mlp", tiny.image_shape, tiny.num_classes)
    seen = replace(test, mean=tiny.mean, std=tiny.std).normalised().double()
    expected = []
    for repeat in range(3):
        right = network(by_hand(network, tiny, config, repeat), seen).argmax(1) == test.labels
        expected.append(int(right.sum()) / 1203)
    found = evaluate(tiny, test, config)
    assert found.accuracies == tuple(expected)
    assert len(set(expected)) == 3


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
    assert score.protocol == replace(QUICK, labels="hard", temperature=1.0)
    assert score.trained_on == tiny.fingerprint
    assert score.tested_on == {"name": "made", "fingerprint": test.fingerprint, "num_images": 36}
    assert score.environment["threads"] == torch.get_num_threads()
    assert (score.environment["engine"], score.environment["precision"]) == ("eager", "float32")
    plain = json.loads(json.dumps(score.as_dict()))
    assert plain["protocol"]["epochs"] == 4
    assert plain["n"] == 3


def test_std_of_a_score_is_that_of_a_sample() -> None:
    score = Score(accuracies=(0.5, 0.7, 0.9), protocol=QUICK, trained_on="", tested_on={})
    assert score.mean == pytest.approx(0.7)
    assert score.std == pytest.approx(0.2)
    assert str(score) == "70.00 ± 20.00 % (n = 3)"
    assert replace(score, accuracies=(0.5,)).std == 0


@pytest.mark.parametrize("augmentation", ["none", "crop-noise", "dsa:color-rotate"])
def test_networks_are_scored_alone_and_in_any_order(make: MakeSet, augmentation: str) -> None:
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
        ({}, {"epochs": 7, "network": "convnet-bn"}, ("convnet-bn", "crop-noise", 7)),
        ({"source": {"name": "mnist"}}, {"network": "ConvNet-BN"}, ("convnet-bn", "crop-noise", 1000)),
        ({}, {"network": "convnet-bn", "augmentation": "none"}, ("convnet-bn", "none", 300)),
        ({"settings": {"siamese": "none"}}, {}, ("convnet", "none", 300)),
        ({"settings": {"siamese": "dsa:color-crop"}}, {}, ("convnet", "dsa:color-crop", 1000)),
        (
            {"settings": {"siamese": "dsa:color-crop"}, "source": {"name": "mnist"}},
            {},
            ("convnet", "dsa:color-crop", 1000),
        ),
        (
            {"settings": {"siamese": "dsa:color-crop"}},
            {"network": "convnet-bn"},
            ("convnet-bn", "crop-noise", 1000),
        ),
    ],
)
def test_defaults_follow_the_published_rules(
    tiny: ImageSet, record: dict[str, Any], config: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    facts = facts_of(record.get("source", {}).get("name"))._asdict()
    protocol = resolved(EvaluationConfig(**config), replace(tiny, provenance=record, **facts))
    assert (protocol.network, protocol.augmentation, protocol.epochs) == expected


def test_defaults_are_the_published_ones() -> None:
    config = EvaluationConfig()
    assert (config.lr, config.momentum, config.weight_decay, config.batch_size) == (0.01, 0.9, 5e-4, 256)
    assert config.repeats == 20


def test_test_images_of_other_shapes_and_classes_are_refused(tiny: ImageSet, make: MakeSet) -> None:
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
        ({"lr": 0.0}, "lr is 0.0, but a learning rate must be a number above 0"),
        ({"lr": 1e308}, r"lr is 1e\+308, but a learning rate must be a number above 0 and below 3e38"),
        ({"lr": float("inf")}, "lr is inf, but a learning rate"),
        ({"lr": float("nan")}, "lr is nan, but a learning rate"),
        ({"weight_decay": 1e308}, r"weight_decay is 1e\+308, but must be at least 0 and below 3e38"),
        ({"weight_decay": float("nan")}, "weight_decay is nan, but must be at least 0"),
        ({"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0, but must be at least 0"),
        ({"seed": -1}, "seed is -1"),
        ({"augmentation": "blur"}, "blur"),
        ({"augmentation": "dsa:blur"}, "'dsa:blur' is unknown"),
        ({"cutmix": 1.5}, "cutmix is 1.5, but must be from 0 to 1"),
        ({"lr_drops": (0.5, 1.2)}, "lr_drops is 1.2, but must be from 0 to 1"),
        ({"lr_factor": -0.1}, "lr_factor is -0.1, but must be from 0 to 1"),
        ({"cutmix": float("nan")}, "cutmix is nan, but must be from 0 to 1"),
    ],
)
def test_wrong_protocols_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EvaluationConfig(**change)
