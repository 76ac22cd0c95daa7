"""Our SGD against torch's, and the promises of `train`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import training
from datacondense.augment.strategies import augmented
from datacondense.cuda_graphs import CudaGraphs
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters, moved
from datacondense.training import SGD, Learner, TrainState, networks_at_once, train, train_side_by_side
from tests.captures import DEVICES, refuse, rerun


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

    def remember(batch: Tensor) -> Tensor:
        seen.append(batch[:, 0, 0, 0])
        return batch

    sgd = SGD(lr=0.1, batch_size=4)
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: sgd)
    for seed in (1, 1, 2):
        go(epochs=1, order=orders(seed), inputs=lambda _: remember)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    first, second, other = (torch.cat(seen[start : start + 3]) for start in (0, 3, 6))
    assert torch.equal(first, second)
    assert torch.equal(first.sort().values, images[:, 0, 0, 0].sort().values)
    assert not torch.equal(first, other)


def test_augmented_batches_take_the_place_of_the_images() -> None:
    network, parameters, images, labels = setting()
    go = partial(
        train, network, TrainState.begun(parameters), labels=labels, sgd=lambda _: SGD(lr=0.1), epochs=2
    )
    changed = go(images=images, inputs=lambda epoch: lambda batch: (0.5 + epoch) * batch).parameters
    first = train(
        network, TrainState.begun(parameters), 0.5 * images, labels, sgd=lambda _: SGD(lr=0.1), epochs=1
    )
    expected = train(network, first, 1.5 * images, labels, sgd=lambda _: SGD(lr=0.1), epochs=2).parameters
    plain = go(images=images).parameters
    assert all(torch.equal(changed[name], value) for name, value in expected.items())
    assert not any(torch.allclose(changed[name], value, atol=1e-4) for name, value in plain.items())


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

    def changed(batch: Tensor) -> Tensor:
        shown.append(-batch)
        return -batch

    sgd = SGD(lr=0.1, momentum=0.9, batch_size=batch_size)
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: sgd, epochs=3)

    def note(positions: Tensor, logits: Tensor) -> None:
        seen.append((positions, logits))

    watched = go(order=orders(), inputs=lambda _: changed, watch=note).parameters
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
    unwatched = go(order=orders(), inputs=lambda _: changed).parameters
    assert all(torch.equal(watched[name], value) for name, value in unwatched.items())


HARD = SGD(lr=0.05, momentum=0.9, weight_decay=0.01, batch_size=4)


def captured_setting(
    device: str, seed: int = 0, number: int = 1
) -> tuple[Network, list[Learner], Tensor, Tensor]:
    """Networks with batch statistics, each with its own order and augmentation."""
    network = build_network("convnet-w4-d1-bn", (1, 8, 8), 3)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(10, 1, 8, 8, generator=generator, dtype=torch.float64).to(device)

    def learner() -> Learner:
        own = int(torch.randint(1000, (), generator=generator))
        seeds = lambda epoch: torch.Generator().manual_seed(own + epoch)  # noqa: E731
        change = torch.Generator().manual_seed(own)
        return Learner(
            TrainState.begun(moved(network.draw(generator), device, torch.float64)),
            seeds,
            lambda _: partial(augmented, "crop-noise", generator=change),
            moved(network.buffers(), device, torch.float64),
        )

    return network, [learner() for _ in range(number)], images, (torch.arange(10) % 3).to(device)


def graphs_on(device: str) -> CudaGraphs:
    return CudaGraphs(device, capture=rerun if device == "cpu" else None)


def close(found: Parameters, expected: Parameters) -> bool:
    return all(torch.allclose(found[name], value, rtol=1e-9, atol=1e-11) for name, value in expected.items())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sgd", [HARD, SGD(lr=0.1), replace(HARD, batch_size=10)])
def test_captured_training_equals_that_of_calls(device: str, sgd: SGD) -> None:
    def rates(epoch: int) -> SGD:
        return replace(sgd, lr=sgd.lr / (1 + epoch))

    graphs = graphs_on(device)
    model: Any = None
    for seed in (0, 1):  # what the first call captured serves the second one
        reached = []
        for own in (graphs, None):
            network, (learner,), images, labels = captured_setting(device, seed)
            model = model or partial(network, training=True)
            before = {name: value.clone() for name, value in learner.start.parameters.items()}
            reported: list[TrainState] = []

            def keep(state: TrainState, kept: list[TrainState] = reported, own: Learner = learner) -> None:
                assert own.buffers is not None
                followed = {**state.parameters, **own.buffers}
                kept.append(state._replace(parameters={k: v.clone() for k, v in followed.items()}))

            options = {**learner._asdict(), "images": images, "labels": labels}
            state = train(model, epochs=3, sgd=rates, graphs=own, after_epoch=keep, **options)
            assert all(torch.equal(learner.start.parameters[name], value) for name, value in before.items())
            reached.append((state, learner.buffers, reported))
        (found, buffers, states), (expected, expected_buffers, expected_states) = reached
        assert found.epoch == 3
        assert close(found.parameters, expected.parameters)
        assert close(found.velocity, expected.velocity)
        assert close(buffers or {}, expected_buffers or {})
        assert [state.epoch for state in states] == [1, 2, 3]
        for one, other in zip(states, expected_states, strict=True):
            assert close(one.parameters, other.parameters)
    assert not graphs.eager


@pytest.mark.parametrize("device", DEVICES)
def test_captured_training_goes_on_with_new_tensors(device: str) -> None:
    network, (learner,), images, labels = captured_setting(device)
    graphs, model = graphs_on(device), partial(network, training=True)
    go = partial(train, model, images=images, labels=labels, sgd=lambda _: HARD, graphs=graphs)
    own = {name: value for name, value in learner._asdict().items() if name != "start"}
    halfway = go(learner.start, epochs=2, **own)
    kept = {name: value.clone() for name, value in halfway.parameters.items()}
    resumed = go(halfway, epochs=5, **own)
    assert all(torch.equal(halfway.parameters[name], value) for name, value in kept.items())
    assert resumed.epoch == 5
    assert go(resumed, epochs=3, **own).epoch == 5  # nothing is left to do
    _, (again,), _, _ = captured_setting(device)
    full = go(
        again.start, epochs=5, **{name: value for name, value in again._asdict().items() if name != "start"}
    )
    assert close(resumed.parameters, full.parameters)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch_size", [4, 10])
def test_networks_side_by_side_are_those_trained_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, batch_size: int
) -> None:
    sgd = replace(HARD, batch_size=batch_size)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    network, learners, images, labels = captured_setting(device, number=3)
    model = partial(network, training=True)
    graphs = graphs_on(device)
    go = partial(train_side_by_side, images=images, labels=labels, epochs=4, sgd=lambda _: sgd, graphs=graphs)
    together = go(model, learners)
    _, others, _, _ = captured_setting(device, number=3)
    alone = [state for learner in others for state in go(model, [learner])]
    for found, expected, one, other in zip(together, alone, learners, others, strict=True):
        assert all(torch.equal(found.parameters[name], value) for name, value in expected.parameters.items())
        assert all(
            torch.equal((one.buffers or {})[name], value) for name, value in (other.buffers or {}).items()
        )
    assert not close(together[0].parameters, together[1].parameters)
    assert not graphs.eager


def test_networks_side_by_side_train_one_by_one_where_nothing_captures() -> None:
    network, learners, images, labels = captured_setting("cpu", number=2)
    options: dict[str, Any] = {"images": images, "labels": labels, "epochs": 2, "sgd": lambda _: HARD}
    model = partial(network, training=True)
    found = train_side_by_side(model, learners, graphs=CudaGraphs("cpu"), **options)
    _, others, _, _ = captured_setting("cpu", number=2)
    for state, learner in zip(found, others, strict=True):
        expected = train(model, **learner._asdict(), **options).parameters
        assert all(torch.equal(state.parameters[name], value) for name, value in expected.items())


@pytest.mark.parametrize("device", DEVICES)
def test_a_watcher_sees_captured_batches_as_they_were_before_their_update(device: str) -> None:
    network, parameters, images, labels = setting()
    start = TrainState.begun(moved(parameters, device, torch.float64))
    images, labels = images.to(device), labels.to(device)
    seen: dict[bool, list[tuple[Tensor, Tensor]]] = {True: [], False: []}
    for captured, kept in seen.items():
        graphs = graphs_on(device) if captured else None
        watch = lambda *batch, kept=kept: kept.append(batch)  # noqa: E731
        options: dict[str, Any] = {"epochs": 3, "sgd": lambda _: HARD, "order": orders()}
        train(network, start, images, labels, watch=watch, graphs=graphs, **options)
    assert len(seen[True]) == 9
    for (positions, logits), (expected_positions, expected) in zip(seen[True], seen[False], strict=True):
        assert torch.equal(positions, expected_positions)
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-11)
        assert not logits.requires_grad


def test_what_is_captured_once_serves_all_batches_of_a_shape() -> None:
    captures: list[Any] = []

    def counted(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        captures.append(run)
        return rerun(run)

    network, parameters, images, labels = setting()
    graphs = CudaGraphs("cpu", capture=counted)
    for lr in (0.1, 0.2):
        sgd = SGD(lr=lr, batch_size=4)
        train(
            network,
            TrainState.begun(parameters),
            images,
            labels,
            epochs=2,
            sgd=lambda _, sgd=sgd: sgd,  # type: ignore[misc]
            order=orders(),
            graphs=graphs,
        )
    assert len(captures) == 2  # batches of 4 and of 2


def test_what_every_epoch_shows_alike_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, parameters, images, labels = setting()
    graphs, static, copied = graphs_on("cpu"), CudaGraphs.static, []

    def counted(own: CudaGraphs, key: Any, values: Any) -> Any:
        copied.append(key)
        return static(own, key, values)

    monkeypatch.setattr(CudaGraphs, "static", counted)
    go = partial(train, network, TrainState.begun(parameters), images, labels, sgd=lambda _: SGD(lr=0.1))
    go(epochs=5, graphs=graphs)
    assert sum("batch" in key for key in copied) == 1
    # Epochs that are changed in turn are not taken for one another.
    inputs = lambda epoch: lambda batch: batch if epoch % 2 else -batch  # noqa: E731
    found, expected = (go(epochs=5, inputs=inputs, graphs=own).parameters for own in (graphs, None))
    assert close(found, expected)


def test_training_goes_on_where_capture_fails() -> None:
    network, (learner,), images, labels = captured_setting("cpu")
    model, graphs = partial(network, training=True), CudaGraphs("cpu", capture=refuse)
    options: dict[str, Any] = {"images": images, "labels": labels, "epochs": 3, "sgd": lambda _: HARD}
    found = train(model, graphs=graphs, **learner._asdict(), **options).parameters
    assert len(graphs.eager) == 1
    _, (again,), _, _ = captured_setting("cpu")
    assert close(found, train(model, **again._asdict(), **options).parameters)


@pytest.mark.parametrize("device", DEVICES)
def test_counting_networks_that_fit_trains_none(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    def on_cpu(run: Callable[[], Tensor], _: torch.device) -> int:
        assert run().shape == (4, 3)  # the logits of one batch
        return 32

    if device == "cpu":
        monkeypatch.setattr(training, "fitting", on_cpu)
    network, (learner,), images, labels = captured_setting(device)
    before = [
        value.clone() for value in [*learner.start.parameters.values(), *(learner.buffers or {}).values()]
    ]
    assert networks_at_once(partial(network, training=True), learner, images, labels, HARD) == 32
    after = [*learner.start.parameters.values(), *(learner.buffers or {}).values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
