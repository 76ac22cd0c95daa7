"""Our SGD against torch's, and the promises of `train`."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from datacondense.training import SGD, TrainState, train


def setting() -> tuple[Network, Parameters, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = build_network("mlp", (1, 8, 8), 3)
    parameters = {name: value.double() for name, value in network.draw(generator).items()}
    images = torch.randn(10, 1, 8, 8, generator=generator, dtype=torch.float64)
    return network, parameters, images, torch.arange(10) % 3


def orders(seed: int = 0) -> Callable[[int], torch.Generator]:
    """One generator that goes on from epoch to epoch."""
    generator = torch.Generator().manual_seed(seed)
    return lambda _: generator


@pytest.mark.parametrize("batch_size", [4, 10, 256])
def test_updates_equal_those_of_torch_in_a_new_order_each_epoch(batch_size: int) -> None:
    network, parameters, images, labels = setting()
    _, trained, velocity = train(
        network,
        TrainState.begun(parameters),
        images,
        labels,
        sgd=lambda _: SGD(lr=0.1, momentum=0.9, weight_decay=0.01, batch_size=batch_size),
        epochs=5,
        order=orders(3),
    )
    expected = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimiser = torch.optim.SGD(list(expected.values()), lr=0.1, momentum=0.9, weight_decay=0.01)
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        order = torch.randperm(10, generator=generator) if batch_size < 10 else torch.arange(10)
        for batch in order.split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(network(expected, images[batch]), labels[batch]).backward()
            optimiser.step()
    for name, value in expected.items():
        torch.testing.assert_close(trained[name], value.detach(), rtol=1e-12, atol=1e-12)
        momentum = optimiser.state[value]["momentum_buffer"]
        torch.testing.assert_close(velocity[name], momentum, rtol=1e-12, atol=1e-12)


def test_training_goes_on_where_it_stopped_and_changes_no_input() -> None:
    network, parameters, images, labels = setting()
    before = {name: value.clone() for name, value in parameters.items()}
    start = TrainState.begun(parameters)
    seeds = lambda epoch: torch.Generator().manual_seed(epoch)  # noqa: E731
    rates = lambda epoch: SGD(lr=0.1 / (1 + epoch), momentum=0.9, batch_size=4)  # noqa: E731
    go = partial(train, network, images=images, labels=labels, sgd=rates, order=seeds)
    halfway = go(start, epochs=2)
    assert halfway.epoch == 2
    assert all(torch.equal(parameters[name], value) for name, value in before.items())
    assert all(not value.any() for value in start.velocity.values())
    resumed, full = go(halfway, epochs=5), go(start, epochs=5)
    assert resumed.epoch == full.epoch == 5
    for found, expected in zip(resumed[1:], full[1:], strict=True):
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    again = go(full, epochs=3)  # nothing is left to do
    assert again.epoch == 5
    assert all(torch.equal(again.parameters[name], value) for name, value in full.parameters.items())


def test_the_state_is_reported_after_every_epoch() -> None:
    network, parameters, images, labels = setting()
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: SGD(lr=0.1))
    reported: list[TrainState] = []

    def keep(state: TrainState) -> None:
        reported.append(state._replace(parameters={k: v.clone() for k, v in state.parameters.items()}))

    go(epochs=3, after_epoch=keep)
    assert [state.epoch for state in reported] == [1, 2, 3]
    for state in reported:
        alone = go(epochs=state.epoch)
        assert all(torch.equal(alone.parameters[name], value) for name, value in state.parameters.items())


def test_every_image_is_seen_once_an_epoch_in_a_drawn_order() -> None:
    network, parameters, images, labels = setting()
    seen: list[Tensor] = []

    def remember(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(batch[:, 0, 0, 0])
        return batch, labels

    sgd = SGD(lr=0.1, batch_size=4)
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: sgd)
    for seed in (1, 1, 2):
        go(epochs=1, order=orders(seed), change=lambda _: remember)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    first, second, other = (torch.cat(seen[start : start + 3]) for start in (0, 3, 6))
    assert torch.equal(first, second)
    assert torch.equal(first.sort().values, images[:, 0, 0, 0].sort().values)
    assert not torch.equal(first, other)


def test_changed_batches_take_the_place_of_images_and_labels() -> None:
    network, parameters, images, labels = setting()
    go = partial(train, network, sgd=lambda _: SGD(lr=0.1))
    start, other = TrainState.begun(parameters), 2 - labels
    change = lambda epoch: lambda x, y: ((0.5 + epoch) * x, 2 - y if epoch else y)  # noqa: E731
    changed = go(start, images, labels, epochs=2, change=change).parameters
    first = go(start, 0.5 * images, labels, epochs=1)
    expected = go(first, 1.5 * images, other, epochs=2).parameters
    plain = go(start, images, labels, epochs=2).parameters
    assert all(torch.equal(changed[name], value) for name, value in expected.items())
    assert not any(torch.allclose(changed[name], value, atol=1e-4) for name, value in plain.items())


@pytest.mark.parametrize("batch_size", [4, 10])
def test_class_numbers_are_distributions_on_one_class(batch_size: int) -> None:
    network, parameters, images, labels = setting()
    sgd = SGD(lr=0.1, momentum=0.9, batch_size=batch_size)
    go = partial(train, network, TrainState.begun(parameters), images, sgd=lambda _: sgd, epochs=3)
    ones = torch.eye(3, dtype=torch.float64)
    found, expected = (go(each, order=orders()).parameters for each in (ones[labels], labels))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    halves = (ones[labels] + ones[2 - labels]) / 2

    def of_both(logits: Tensor, both: Tensor) -> Tensor:
        return (F.cross_entropy(logits, both[:, 0]) + F.cross_entropy(logits, both[:, 1])) / 2

    found = go(halves, order=orders()).parameters
    expected = go(torch.stack([labels, 2 - labels], 1), order=orders(), loss=of_both).parameters
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)


def test_several_batches_need_an_order() -> None:
    network, parameters, images, labels = setting()
    sgd = SGD(lr=0.1, batch_size=4)
    with pytest.raises(AssertionError, match="more than one batch needs an order"):
        train(network, TrainState.begun(parameters), images, labels, sgd=lambda _: sgd, epochs=1)


@pytest.mark.parametrize("batch_size", [4, 10, 256])
def test_a_watcher_sees_each_batch_as_it_was_before_its_update(batch_size: int) -> None:
    network, parameters, images, labels = setting()
    seen: list[tuple[Tensor, Tensor]] = []
    shown: list[Tensor] = []

    def changed(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        shown.append(-batch)
        return -batch, labels

    sgd = SGD(lr=0.1, momentum=0.9, batch_size=batch_size)
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: sgd, epochs=3)

    def note(positions: Tensor, logits: Tensor) -> None:
        seen.append((positions, logits))

    watched = go(order=orders(), change=lambda _: changed, watch=note).parameters
    per_epoch = -(-10 // batch_size)
    assert len(seen) == 3 * per_epoch
    for epoch in range(3):
        positions = torch.cat([batch for batch, _ in seen[epoch * per_epoch : (epoch + 1) * per_epoch]])
        assert positions.sort().values.tolist() == list(range(10))
    for (batch, logits), inputs in zip(seen, shown, strict=True):
        assert torch.equal(-images[batch], inputs)  # positions belong to what the network was shown
        assert logits.shape == (len(batch), 3)
        assert not logits.requires_grad
    assert torch.equal(seen[0][1], network(parameters, shown[0]))
    assert not torch.equal(seen[per_epoch][1], network(parameters, shown[per_epoch]))
    unwatched = go(order=orders(), change=lambda _: changed).parameters
    assert all(torch.equal(watched[name], value) for name, value in unwatched.items())
