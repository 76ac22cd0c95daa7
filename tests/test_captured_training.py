"""Training as a GPU captures it, one network or several side by side, against that of calls."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import training
from datacondense.augment.strategies import changed
from datacondense.cuda_graphs import CudaGraphs
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters, moved
from datacondense.training import SGD, Learner, TrainState, networks_at_once, train, train_side_by_side
from tests.captures import DEVICES, refuse, rerun
from tests.test_training import orders, setting

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
            lambda _: partial(changed, "crop-noise", generator=change),
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
    inputs = lambda epoch: lambda x, y: (x if epoch % 2 else -x, y)  # noqa: E731
    others = lambda epoch: lambda x, y: (x, y if epoch % 2 else 2 - y)  # noqa: E731
    ones = torch.eye(3, dtype=torch.float64)
    kinds = lambda epoch: lambda x, y: (x, y if epoch % 2 else ones[2 - y])  # noqa: E731
    for change in (inputs, others, kinds):
        found, expected = (go(epochs=5, change=change, graphs=own).parameters for own in (graphs, None))
        assert close(found, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_distributions_and_a_loss_are_captured_side_by_side(device: str) -> None:
    def halved(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits / 2, targets)

    graphs, found = graphs_on(device), []
    for own in (graphs, CudaGraphs("cpu")):
        network, learners, images, _ = captured_setting(device, number=2)
        soft = torch.rand(10, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        soft = (soft / soft.sum(1, keepdim=True)).to(device)
        options: dict[str, Any] = {"images": images, "labels": soft, "epochs": 3, "sgd": lambda _: HARD}
        model = partial(network, training=True)
        found.append(train_side_by_side(model, learners, graphs=own, loss=halved, **options))
        expected = train(model, **learners[0]._asdict(), **options)
        assert not close(found[-1][0].parameters, expected.parameters)  # the loss counts
    assert not graphs.eager
    for one, other in zip(*found, strict=True):
        assert close(one.parameters, other.parameters)


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
