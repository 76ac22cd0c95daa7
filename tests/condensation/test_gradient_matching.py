"""Algorithm 1, step by step, against the same steps written out by hand."""

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datacondense import (
    GradientMatchingConfig,
    IDCConfig,
    ImageSet,
    InputError,
    RunConfig,
    SiameseMatchingConfig,
    build_network,
    condense,
)
from datacondense.condensation.gradient_matching import GradientMatching
from datacondense.condensation.state import Step
from datacondense.matching.distances import DISTANCES
from datacondense.random import seeded_generator
from tests.cases import LARGE, NETWORKS
from tests.condensation.by_hand import SEED, algorithm_1, probe
from tests.conftest import MakeSet

ALL = "dsa:color-crop-cutout-flip-scale-rotate"
CONFIG = GradientMatchingConfig(
    ipc=2,
    network="convnet-w4-d1",
    matching_steps=2,
    network_epochs=2,
    image_lr=0.1,
    network_lr=0.05,
    real_batch=4,
    precision="float64",
)
# Momenta that differ, and batches of 4 of the 6 synthetic images: every counter and every order is seen.
LONG = replace(CONFIG, matching_steps=3, network_batch=4, image_momentum=0.7, network_momentum=0.6)
SENSITIVE = ("wiener:2", "keep-sensitive:0.5")


def assert_equals_algorithm_1(train: ImageSet, config: GradientMatchingConfig, iterations: int) -> None:
    """Run all steps beside those written out, and compare images and losses after each."""
    method = config.build(train, SEED)
    state, steps = method.init(), algorithm_1(train, config, iterations)
    assert config.matching_steps is not None
    for number, (images, expected) in enumerate(steps):
        state, loss = method.step(state, Step(*divmod(number, config.matching_steps)))
        assert loss == pytest.approx(expected, rel=1e-9)
        torch.testing.assert_close(state.images, images, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"network": "mlp", "start": "real"},
        {"network": "convnet-w4-d1-bn"},
        {"class_collective": True},
        {"transform": SENSITIVE},
        {"shrink_pixels": True},
        {"siamese": ALL, "start": "real"},
        {"siamese": "dsa:scale-rotate", "network": "convnet-w4-d1-bn", "class_collective": True},
    ],
    ids=[
        "plain",
        "mlp",
        "batch-norm",
        "class-collective",
        "transform",
        "shrink-pixels",
        "siamese",
        "siamese-class-collective",
    ],
)
def test_three_iterations_equal_algorithm_1_by_hand(make: MakeSet, change: dict[str, object]) -> None:
    config = replace(LONG, **change)  # type: ignore[arg-type]
    assert_equals_algorithm_1(make(per_class=20), config, 3)


@pytest.mark.parametrize(
    "change",
    [{"network": "convnet-w4-d1-bn"}, {"transform": SENSITIVE}, {"siamese": "dsa:crop"}],
    ids=["batch-norm", "transform", "siamese"],
)
def test_a_probe_has_a_network_batch_and_statistics_of_its_own(
    make: MakeSet, change: dict[str, object]
) -> None:
    train, config = make(per_class=20), replace(CONFIG, **change)  # type: ignore[arg-type]
    method = config.build(train, SEED)
    assert isinstance(method, GradientMatching)
    images = method.init().images
    for network, batch in ((0, 0), (0, 2), (3, 1)):
        expected = probe(train, config, images, network, batch)
        torch.testing.assert_close(
            method.probe(images, network=network, batch=batch), expected, rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in LARGE])
def test_an_iteration_equals_algorithm_1_by_hand(make: MakeSet, network: str, distance: str) -> None:
    assert_equals_algorithm_1(make(per_class=20), replace(CONFIG, network=network, distance=distance), 1)


@pytest.mark.parametrize("class_collective", [False, True])
@pytest.mark.parametrize("siamese", ["dsa:color", "dsa:crop-flip", "dsa:scale-rotate", ALL])
@pytest.mark.parametrize("network", ["mlp", "convnet-w4-d2", "convnet-w4-d1-bn"])
def test_an_iteration_of_siamese_matching_equals_the_algorithm_by_hand(
    make: MakeSet, network: str, siamese: str, class_collective: bool
) -> None:
    config = replace(
        CONFIG, start="real", network=network, siamese=siamese, class_collective=class_collective
    )
    assert_equals_algorithm_1(make(per_class=20), config, 1)


def test_the_network_is_trained_between_matching_steps_only(tiny: ImageSet) -> None:
    config = GradientMatchingConfig(network="mlp", real_batch=4, matching_steps=2, network_epochs=1)
    method = config.build(tiny, SEED)
    drawn = build_network("mlp", tiny.image_shape, 3).draw(seeded_generator(SEED, "network", 0))
    first, _ = method.step(method.init(), Step(0, 0))
    assert not any(torch.equal(first.parameters[name], value) for name, value in drawn.items())
    last, _ = method.step(first, Step(0, 1))
    assert all(torch.equal(last.parameters[name], value) for name, value in first.parameters.items())


@pytest.mark.parametrize("class_collective", [False, True])
@pytest.mark.parametrize(
    "transform",
    [(), ("keep-sensitive-global:0.5", "wiener:2"), ("keep-stable:0.5", "abs-max-pool-1"), ("keep-snr:1",)],
    ids="+".join,
)
def test_memory_for_graphs_changes_nothing_but_rounding(
    make: MakeSet, transform: tuple[str, ...], class_collective: bool
) -> None:
    train = make(num_classes=5)
    config = replace(
        CONFIG,
        network="convnet-w32-d2",
        ipc=3,
        real_batch=6,
        transform=transform,
        class_collective=class_collective,
    )
    methods = [replace(config, graph_memory=memory).build(train, SEED) for memory in (1, 2, 3, 4096)]
    at_once = [m._objective.classes_at_once for m in methods if isinstance(m, GradientMatching)]
    assert at_once[:3] == sorted({1, *at_once[:3]})
    assert at_once[3] >= 5
    alone, *others = [method.step(method.init(), Step(0, 0)) for method in methods]
    for state, loss in others:
        assert loss == pytest.approx(alone[1], rel=1e-10)
        torch.testing.assert_close(state.images, alone[0].images, rtol=1e-9, atol=1e-10)


def test_defaults_are_the_published_ones() -> None:
    config = GradientMatchingConfig(ipc=10).resolved()
    assert (config.matching_steps, config.network_epochs) == (10, 50)
    assert (config.image_lr, config.image_momentum, config.network_lr) == (0.1, 0.5, 0.01)
    assert (config.real_batch, config.network_batch, config.start) == (256, 256, "noise")
    assert (config.distance, config.compare) == ("layerwise-cosine", "weights")
    assert GradientMatchingConfig(network="mlp").resolved().image_lr == 0.01


def test_siamese_matching_is_gradient_matching_with_other_defaults() -> None:
    config, plain = SiameseMatchingConfig(ipc=10), GradientMatchingConfig(ipc=10)
    assert vars(config) == {**vars(plain), "start": "real", "siamese": "dsa"}
    assert (plain.start, plain.siamese) == ("noise", "none")
    assert config.resolved().siamese == ALL
    assert config.resolved(may_be_mirrored=False).siamese == "dsa:color-crop-cutout-scale-rotate"


def test_idc_is_gradient_matching_with_other_defaults() -> None:
    config = IDCConfig(ipc=10)
    changed = {
        name for name, value in vars(config).items() if value != vars(GradientMatchingConfig(ipc=10))[name]
    }
    assert changed == {
        *(
            "factor",
            "start",
            "real_batch",
            "siamese",
            "distance",
            "compare",
            "matching_steps",
            "train_on_real",
        ),
        *("cutmix", "network_momentum", "network_batch", "image_momentum"),
    }
    resolved = config.resolved()
    assert (resolved.image_lr, resolved.network_epochs, resolved.matching_steps) == (0.16, 1, 100)
    assert IDCConfig(image_lr=0.3).resolved().image_lr == 0.3
    with pytest.raises(
        InputError, match=r"cutmix is 0\.5, but mixes only real images .* give --train-on-real"
    ):
        GradientMatchingConfig(cutmix=0.5)


def test_kinds_of_steps_have_names_of_their_own() -> None:
    changes: tuple[dict[str, object], ...] = (
        {},
        {"siamese": "dsa"},
        {"siamese": "dsa:crop"},
        {"class_collective": True},
        {"ipc": 3},
    )
    assert len({replace(CONFIG, **change).kind for change in changes}) == 5  # type: ignore[arg-type]


def test_settings_take_the_place_of_defaults() -> None:
    config = GradientMatchingConfig(ipc=10, matching_steps=3, network_epochs=0, image_lr=0.7).resolved()
    assert (config.matching_steps, config.network_epochs, config.image_lr) == (3, 0, 0.7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matching_steps": 0}, "matching_steps is 0, but must be 1 or more"),
        ({"network_epochs": -1}, "network_epochs is -1, but must be 0 or more"),
        ({"network_lr": float("nan")}, "network_lr is nan, but a learning rate must be"),
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
        ({"distance": "l1"}, "no distance 'l1'"),
        ({"siamese": "flip"}, "siamese is 'flip', but must be 'none', 'dsa', 'idc', or operations such as"),
        ({"siamese": "dsa:"}, "Augmentation strategy 'dsa:' is unknown"),
        ({"siamese": "dsa:crop-crop"}, "Augmentation strategy 'dsa:crop-crop' is unknown"),
        ({"siamese": "dsa:noise"}, "Augmentation strategy 'dsa:noise' is unknown"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GradientMatchingConfig(), **change)  # type: ignore[arg-type]


def test_where_gradients_do_not_come_apart_classes_go_one_by_one_and_the_record_says_why(
    make: MakeSet,
) -> None:
    class Centred(nn.Module):
        """Sees the mean of the batch."""

        def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(prod(shape), classes)

        def forward(self, images: Tensor) -> Any:
            return self.layer((images - images.mean(0)).flatten(1))

    run = RunConfig(iterations=1)
    own = replace(CONFIG, network=Centred, real_batch=6)
    environment = condense(make(), own, run).provenance["environment"]
    reason = "one by one: images of other classes change the gradient of layer.weight"
    assert (environment["synthetic classes"], environment["real classes"]) == (reason, reason)
    usual = condense(make(), replace(own, network="mlp"), run).provenance["environment"]
    assert not [name for name in usual if name.endswith("classes")]
