"""Our SGD against torch's, and the promises of `train`."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from datacondense.training import SGD, train, zero_velocity


def setting() -> tuple[Network, Parameters, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = build_network("mlp", (1, 8, 8), 3)
    parameters = {name: value.double() for name, value in network.draw(generator).items()}
    images = torch.randn(10, 1, 8, 8, generator=generator, dtype=torch.float64)
    return network, parameters, images, torch.arange(10) % 3


def test_updates_equal_those_of_torch() -> None:
    network, parameters, images, labels = setting()
    trained, _ = train(
        network,
        parameters,
        zero_velocity(parameters),
        images,
        labels,
        sgd=SGD(lr=0.1, momentum=0.9, weight_decay=0.01),
        epochs=5,
        generator=torch.Generator(),
    )
    expected = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimiser = torch.optim.SGD(list(expected.values()), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(network(expected, images), labels).backward()
        optimiser.step()
    for name, value in expected.items():
        torch.testing.assert_close(trained[name], value.detach(), rtol=1e-12, atol=1e-12)


def test_inputs_are_not_changed_and_momentum_goes_on() -> None:
    network, parameters, images, labels = setting()
    before = {name: value.clone() for name, value in parameters.items()}
    velocity = zero_velocity(parameters)
    go = partial(train, network, images=images, labels=labels, sgd=SGD(lr=0.1, momentum=0.9))
    halfway, kept = go(parameters, velocity, epochs=2, generator=torch.Generator())
    assert all(torch.equal(parameters[name], value) for name, value in before.items())
    assert all(not value.any() for value in velocity.values())
    resumed, _ = go(halfway, kept, epochs=3, generator=torch.Generator())
    full, _ = go(parameters, velocity, epochs=5, generator=torch.Generator())
    assert all(torch.equal(resumed[name], value) for name, value in full.items())


def test_every_image_is_seen_once_an_epoch_in_a_drawn_order() -> None:
    network, parameters, images, labels = setting()
    seen: list[Tensor] = []

    def remember(batch: Tensor) -> Tensor:
        seen.append(batch[:, 0, 0, 0])
        return batch

    for seed in (1, 1, 2):
        train(
            network,
            parameters,
            zero_velocity(parameters),
            images,
            labels,
            sgd=SGD(lr=0.1, batch_size=4),
            epochs=1,
            generator=torch.Generator().manual_seed(seed),
            augmentation=remember,
        )
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    first, second, other = (torch.cat(seen[start : start + 3]) for start in (0, 3, 6))
    assert torch.equal(first.sort().values, images[:, 0, 0, 0].sort().values)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_augmentation_feeds_the_network() -> None:
    network, parameters, images, labels = setting()
    go = partial(
        train,
        network,
        parameters,
        zero_velocity(parameters),
        images,
        labels,
        sgd=SGD(lr=0.1),
        epochs=1,
    )
    plain, _ = go(generator=torch.Generator())
    changed, _ = go(generator=torch.Generator(), augmentation=lambda batch: -batch)
    assert any(not torch.equal(plain[name], changed[name]) for name in plain)


@pytest.mark.parametrize("batch_size", [4, 10, 256])
def test_a_watcher_sees_each_batch_as_it_was_before_its_update(batch_size: int) -> None:
    network, parameters, images, labels = setting()
    seen: list[tuple[Tensor, Tensor]] = []
    inputs: list[Tensor] = []

    def changed(batch: Tensor) -> Tensor:
        inputs.append(-batch)
        return -batch

    go = partial(
        train,
        network,
        parameters,
        zero_velocity(parameters),
        images,
        labels,
        sgd=SGD(lr=0.1, momentum=0.9, batch_size=batch_size),
        epochs=3,
    )
    watched, _ = go(
        generator=torch.Generator(),
        augmentation=changed,
        watch=lambda positions, logits: seen.append((positions, logits)),
    )
    per_epoch = -(-10 // batch_size)
    assert len(seen) == 3 * per_epoch
    for epoch in range(3):
        positions = torch.cat([batch for batch, _ in seen[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert positions.sort().values.tolist() == list(range(10))
    for (batch, logits), shown in zip(seen, inputs, strict=True):
        assert torch.equal(-images[batch], shown)  # positions belong to what the network was shown
        assert logits.shape == (len(batch), 3)
        assert not logits.requires_grad
    assert torch.equal(seen[0][1], network(parameters, inputs[0]))
    assert not torch.equal(seen[per_epoch][1], network(parameters, inputs[per_epoch]))
    unwatched, _ = go(generator=torch.Generator(), augmentation=changed)
    assert all(torch.equal(watched[name], value) for name, value in unwatched.items())
