"""Algorithm 1, step by step, against the same steps written out by hand."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.state import Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching import reference
from datacondense.matching.distances import DISTANCES
from datacondense.matching.gradients import compared_parameters
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator
from tests.cases import LARGE, NETWORKS
from tests.conftest import MakeSet

STEPS, EPOCHS, BATCH, IPC, SEED = 2, 2, 4, 2, 9


def real_batch(train: ImageSet, label: int, size: int, *key: str | int) -> Tensor:
    """Draw a batch the way the run's streams promise."""
    members = train.class_indices[label]
    purpose, *index = key
    generator = seeded_generator(SEED, str(purpose), *(int(i) for i in index), label)
    if size > len(members):
        return train.normalised(members[torch.randint(len(members), (size,), generator=generator)]).double()
    return train.normalised(members[torch.randperm(len(members), generator=generator)[:size]]).double()


def by_hand(train: ImageSet, config: GradientMatchingConfig) -> Tensor:
    """Write one outer draw out: explicit loops for the gradient, torch's optimisers for both updates."""
    K = train.num_classes
    network = build_network(config.network, train.image_shape, K)
    images = (
        torch
        .randn(K, IPC, *train.image_shape, generator=seeded_generator(SEED, "start"))
        .double()
        .requires_grad_()
    )
    image_optimiser = torch.optim.SGD([images], lr=0.1, momentum=0.5)
    parameters = {
        name: value.double().requires_grad_()
        for name, value in network.draw(seeded_generator(SEED, "network", 0)).items()
    }
    network_optimiser = torch.optim.SGD(list(parameters.values()), lr=0.05, momentum=0.5)
    compared = compared_parameters(parameters, config.compare)
    for step in range(STEPS):
        statistics = torch.cat([real_batch(train, label, 16, "statistics", 0, step) for label in range(K)])
        model = partial(network, buffers=network.measure_statistics(parameters, statistics))
        real = torch.stack([real_batch(train, label, BATCH, "real", 0, step) for label in range(K)])
        _, images.grad = reference.matching_gradient(
            model, parameters, compared, real, images, kind=config.distance
        )
        image_optimiser.step()
        if step + 1 < STEPS:
            labels = torch.arange(K).repeat_interleave(IPC)
            for _ in range(EPOCHS):
                network_optimiser.zero_grad()
                F.cross_entropy(model(parameters, images.detach().flatten(0, 1)), labels).backward()
                network_optimiser.step()
    return images.detach()


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in LARGE])
def test_an_outer_draw_equals_algorithm_1_by_hand(make: MakeSet, network: str, distance: str) -> None:
    train = make(per_class=20)
    config = GradientMatchingConfig(
        ipc=IPC,
        network=network,
        distance=distance,
        matching_steps=STEPS,
        network_epochs=EPOCHS,
        image_lr=0.1,
        network_lr=0.05,
        network_momentum=0.5,
        real_batch=BATCH,
        precision="float64",
    )
    method = config.build(train, SEED)
    state = method.init()
    for step in range(STEPS):
        state, _ = method.step(state, Step(0, step))
    torch.testing.assert_close(state.images, by_hand(train, config), rtol=1e-10, atol=1e-10)


def test_steps_leave_their_input_alone(tiny: ImageSet) -> None:
    method = GradientMatchingConfig(network="mlp", ipc=2, real_batch=4).build(tiny, 0)
    first = method.init()
    before = first.images.clone()
    second, _ = method.step(first, Step(0, 0))
    parameters = {name: value.clone() for name, value in second.parameters.items()}
    method.step(second, Step(0, 1))
    assert torch.equal(first.images, before)
    assert all(torch.equal(second.parameters[name], value) for name, value in parameters.items())


def test_the_network_is_trained_between_matching_steps_only(tiny: ImageSet) -> None:
    config = GradientMatchingConfig(network="mlp", real_batch=4, matching_steps=2, network_epochs=1)
    method = config.build(tiny, SEED)
    drawn = build_network("mlp", tiny.image_shape, 3).draw(seeded_generator(SEED, "network", 0))
    first, _ = method.step(method.init(), Step(0, 0))
    assert not any(torch.equal(first.parameters[name], value) for name, value in drawn.items())
    last, _ = method.step(first, Step(0, 1))
    assert all(torch.equal(last.parameters[name], value) for name, value in first.parameters.items())


def test_defaults_are_the_published_ones() -> None:
    config = GradientMatchingConfig(ipc=10).resolved()
    assert (config.matching_steps, config.network_epochs) == (10, 50)
    assert (config.image_lr, config.image_momentum, config.network_lr) == (0.1, 0.5, 0.01)
    assert (config.real_batch, config.network_batch, config.start) == (256, 256, "noise")
    assert (config.distance, config.compare) == ("layerwise-cosine", "weights")
    assert GradientMatchingConfig(network="mlp").resolved().image_lr == 0.01


def test_what_is_given_is_kept() -> None:
    config = GradientMatchingConfig(ipc=10, matching_steps=3, network_epochs=0, image_lr=0.7).resolved()
    assert (config.matching_steps, config.network_epochs, config.image_lr) == (3, 0, 0.7)


def test_real_start_takes_different_images_of_the_right_class(make: MakeSet) -> None:
    train = make(per_class=5)
    state = GradientMatchingConfig(ipc=5, start="real", network="mlp", real_batch=4).build(train, 0).init()
    for label in range(3):
        got = state.images[label].flatten(1)
        expected = train.normalised(train.class_indices[label]).flatten(1)
        torch.testing.assert_close(got[got[:, 0].argsort()], expected[expected[:, 0].argsort()])


def test_small_classes_are_drawn_with_replacement_and_mentioned_once(make: MakeSet) -> None:
    train = make(per_class=3)
    with pytest.warns(
        UserWarning, match=r"3 of 3 classes have fewer images than the real batch of 8"
    ) as notes:
        method = GradientMatchingConfig(network="mlp", real_batch=8).build(train, 0)
    # A second warning, from a step, would be an error in the tests.
    for draw in range(2):
        state, loss = method.step(method.init(), Step(draw, 0))
    assert len(notes) == 1
    assert "class 0 (3), class 1 (3), class 2 (3)" in str(notes[0].message)
    assert loss > 0
    assert bool(state.images.isfinite().all())


def test_batches_without_need_have_no_repetition(make: MakeSet) -> None:
    train = make(per_class=8)
    method = GradientMatchingConfig(network="mlp", real_batch=8).build(train, 0)
    batch = method._sampler.real(1, 8, "real", 0, 0)
    assert len(torch.unique(batch.flatten(1), dim=0)) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ipc": 0}, "ipc is 0, but must be 1 or more"),
        ({"matching_steps": 0}, "matching_steps is 0, but must be 1 or more"),
        ({"real_batch": -1}, "real_batch is -1, but must be 1 or more"),
        ({"network_epochs": -1}, "network_epochs is -1, but must be 0 or more"),
        ({"image_lr": 0.0}, "image_lr is 0.0, but a learning rate must be a number above 0"),
        ({"network_lr": float("nan")}, "network_lr is nan, but a learning rate must be"),
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
        ({"start": "zeros"}, "start is 'zeros', but images begin as 'noise' or as 'real'"),
        ({"precision": "float16"}, "precision is 'float16': choose one of auto, float64, float32, bfloat16"),
        ({"distance": "l1"}, "no distance 'l1'"),
    ],
)
def test_wrong_settings_are_refused_when_given(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GradientMatchingConfig(), **change)  # type: ignore[arg-type]


def test_real_start_needs_enough_images(make: MakeSet) -> None:
    with pytest.raises(
        InputError, match=r"ipc is 6, but the class 'class 0' has only 5 .* smaller --ipc or --start noise"
    ):
        GradientMatchingConfig(ipc=6, start="real", network="mlp", real_batch=4).build(make(per_class=5), 0)
