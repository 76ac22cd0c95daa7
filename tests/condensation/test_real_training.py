"""Networks that train on real images: written out with torch's own optimiser."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from datacondense import DistributionMatchingConfig, GradientMatchingConfig
from datacondense.condensation.real_training import trained_on_real
from datacondense.condensation.sampler import Sampler
from datacondense.condensation.state import Step
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Parameters
from datacondense.random import seeded_generator
from datacondense.training import SGD, TrainState

SEED = 3


def by_hand(train: ImageSet, parameters: Parameters, images: int, number: int, lr: float) -> Parameters:
    """Train on consecutive images of a random order in batches of four, with momentum 0.9."""
    network = build_network("convnet-w4-d1", train.image_shape, train.num_classes)
    order = torch.randperm(36, generator=seeded_generator(SEED, "real training", images * number // 36))
    seen = order[images * number % 36 :][:images]
    batches = torch.randperm(images, generator=seeded_generator(SEED, "real training order", number))
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in parameters.items()}
    optimiser = torch.optim.SGD(leaves.values(), lr=lr, momentum=0.9)
    for batch in seen[batches].split(4):
        optimiser.zero_grad()
        F.cross_entropy(network(leaves, train.normalised(batch).double()), train.labels[batch]).backward()
        optimiser.step()
    return {name: tensor.detach() for name, tensor in leaves.items()}


@pytest.mark.parametrize("number", [0, 4])
def test_training_is_that_of_torch(tiny: ImageSet, number: int) -> None:
    sampler = Sampler(tiny, SEED, torch.float64)
    network = build_network("convnet-w4-d1", tiny.image_shape, tiny.num_classes)
    start = TrainState.begun(sampler.network(network, "network", 0))
    trained = trained_on_real(
        network,
        start,
        sampler,
        number,
        images=12,
        sgd=SGD(lr=0.1, momentum=0.9, batch_size=4),
        augmentation="none",
    )
    expected = by_hand(tiny, start.parameters, 12, number, 0.1)
    for name, tensor in trained.parameters.items():
        torch.testing.assert_close(tensor, expected[name])


def test_gradient_matching_goes_on_with_a_network_trained_on_real_images(tiny: ImageSet) -> None:
    config = GradientMatchingConfig(
        ipc=2,
        network="convnet-w4-d1",
        real_batch=4,
        matching_steps=3,
        train_on_real=12,
        network_batch=4,
        network_momentum=0.9,
        precision="float64",
    )
    method = config.build(tiny, SEED)
    assert config.resolved().network_epochs == 1
    state, _ = method.step(method.init(), Step(0, 0))
    # Its first step has number 1; steps of an iteration follow each other through the real images.
    expected = by_hand(tiny, method.sampler.network(method.network, "network", 0), 12, 1, 0.01)
    for name, tensor in state.parameters.items():
        torch.testing.assert_close(tensor, expected[name])


def test_the_pool_trains_its_networks_in_turn_and_renews_them(tiny: ImageSet) -> None:
    config = DistributionMatchingConfig(
        ipc=2,
        network="convnet-w4-d1",
        real_batch=4,
        siamese="none",
        pool=2,
        pool_turns=3,
        pool_images=12,
        network_batch=4,
        precision="float64",
    )
    method = config.build(tiny, SEED)
    fresh = partial(method.sampler.network, build_network("convnet-w4-d1", (1, 8, 8), 3), "network")
    kept: list[Parameters] = [{}, {}]
    state = method.init()
    # The first place begins anew at every third turn, the second one turn later in its life.
    begins = {0, 1, 5, 6}
    for number in range(8):
        place = number % 2
        before = fresh(number) if number in begins else kept[place]
        matched = {name: before[name] for name in method.network.draw(torch.Generator())}
        loss, _ = method.gradient(state.images, Step(number, 0), matched)  # type: ignore[attr-defined]
        state, found = method.step(state, Step(number, 0))
        assert found == pytest.approx(float(loss))
        names = {
            key.removeprefix(f"pool {place}/parameters/"): tensor
            for key, tensor in state.other.items()
            if key.startswith(f"pool {place}/parameters/")
        }
        expected = by_hand(tiny, before, 12, number, 0.01) if number in begins else None
        kept[place] = names
        if expected is not None:
            for name, tensor in names.items():
                torch.testing.assert_close(tensor, expected[name])
