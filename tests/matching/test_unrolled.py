"""Unrolled descent against finite differences, and its way against training without a graph."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.matching.class_gradients import Model
from datacondense.matching.unrolled import InnerStep, gradients_step_by_step, unrolled_sgd
from datacondense.networks.builder import build_network
from datacondense.networks.network import Parameters
from datacondense.training import SGD, TrainState, train

K, S, STEPS = 2, 2, 3
LABELS = torch.arange(K).repeat_interleave(S)


def setting(name: str) -> tuple[Model, Parameters, Tensor, Tensor]:
    """Draw a network, images for every step `[STEPS, N, C, H, W]` and learning rates, in float64."""
    generator = torch.Generator().manual_seed(2)
    network = build_network(name, (1, 8, 8), K)
    parameters = {key: value.double() for key, value in network.draw(generator).items()}
    images = torch.randn(STEPS, K * S, 1, 8, 8, generator=generator, dtype=torch.float64)
    lrs = torch.tensor([0.3, 0.1, 0.2], dtype=torch.float64)
    return partial(network, buffers=network.buffers()), parameters, images, lrs


def steps_on(images: Tensor, lrs: Tensor) -> list[InnerStep]:
    return [InnerStep(batch, LABELS, lr) for batch, lr in zip(images, lrs, strict=True)]


def flat(parameters: Parameters) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in parameters.values()])


@pytest.mark.parametrize("name", ["mlp", "convnet-w4-d1"])
def test_derivatives_equal_finite_differences(name: str) -> None:
    model, parameters, images, lrs = setting(name)
    weights = torch.randn(len(flat(parameters)), generator=torch.Generator().manual_seed(3)).double()

    def value(images: Tensor, lrs: Tensor) -> Tensor:
        return flat(unrolled_sgd(model, parameters, steps_on(images, lrs))) @ weights

    leaves = [images.requires_grad_(), lrs.requires_grad_()]
    found = torch.autograd.grad(value(*leaves), leaves)
    images, lrs = images.detach(), lrs.detach()
    for number in range(STEPS):
        direction = torch.randn(images[0].shape, generator=torch.Generator().manual_seed(number)).double()
        shift = torch.zeros_like(images)
        shift[number] = 1e-6 * direction
        difference = (value(images + shift, lrs) - value(images - shift, lrs)) / 2e-6
        torch.testing.assert_close((found[0][number] * direction).sum(), difference, rtol=1e-6, atol=1e-7)
        shift = torch.zeros_like(lrs)
        shift[number] = 1e-6
        difference = (value(images, lrs + shift) - value(images, lrs - shift)) / 2e-6
        torch.testing.assert_close(found[1][number], difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["mlp", "convnet-w4-d1"])
def test_it_ends_where_training_without_momentum_ends(name: str) -> None:
    model, parameters, images, lrs = setting(name)
    expected = parameters
    for batch, lr in zip(images, lrs.tolist(), strict=True):
        sgd = SGD(lr=lr)
        start = TrainState.begun(expected)
        expected = train(model, start, batch, LABELS, epochs=1, sgd=lambda _, sgd=sgd: sgd).parameters  # type: ignore[misc]
    found = unrolled_sgd(model, parameters, steps_on(images, lrs))
    assert list(found) == list(parameters)
    torch.testing.assert_close(flat(found), flat(expected), rtol=0, atol=1e-14)
    numbers = [InnerStep(*step[:2], float(step.lr)) for step in steps_on(images, lrs)]
    torch.testing.assert_close(flat(unrolled_sgd(model, parameters, numbers)), flat(found))


def test_the_start_is_neither_changed_nor_differentiated() -> None:
    model, parameters, images, lrs = setting("mlp")
    before = flat(parameters).clone()
    leaves = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
    end = flat(unrolled_sgd(model, leaves, steps_on(images, lrs.requires_grad_()))).sum()
    gradients = torch.autograd.grad(end, list(leaves.values()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    assert torch.equal(flat(parameters), before)


def learned_tensors(images: Tensor, lrs: Tensor) -> tuple[dict[str, Tensor], list[Any]]:
    """Return images, label logits and learning rates that are learned, and the steps that use them."""
    logits = torch.randn(K * S, K, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def make(number: int, learned: Mapping[str, Tensor]) -> InnerStep:
        labels = learned["logits"].softmax(1)
        return InnerStep(learned["images"][number], labels, learned["lrs"][number])

    return {"images": images, "logits": logits, "lrs": lrs}, [partial(make, i) for i in range(len(lrs))]


def squared(end: Parameters) -> Tensor:
    """A loss of the end of training that is not linear in it."""
    return (flat(end) - 0.1).square().sum()


@pytest.mark.parametrize("name", ["mlp", "convnet-w4-d1"])
def test_gradients_step_by_step_are_those_of_descent_with_constant_parameters(name: str) -> None:
    model, parameters, images, lrs = setting(name)
    learned, steps = learned_tensors(images, lrs)
    loss, found = gradients_step_by_step(model, parameters, steps, learned, squared)

    leaves = {key: tensor.clone().requires_grad_() for key, tensor in learned.items()}
    end = parameters
    for make in steps:
        step = make(leaves)
        here = {key: value.detach().requires_grad_() for key, value in end.items()}
        lost = F.cross_entropy(model(here, step.images), step.labels)
        slopes = torch.autograd.grad(lost, list(here.values()), create_graph=True)
        end = {key: end[key] - step.lr * slope for key, slope in zip(end, slopes, strict=True)}
    expected = torch.autograd.grad(squared(end), list(leaves.values()))
    torch.testing.assert_close(loss, squared(end).detach(), rtol=1e-12, atol=0)
    for own, other in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)
        assert float(other.abs().max()) > 1e-4
    # A single step has no later parameters: its gradients are exact.
    _, one = gradients_step_by_step(model, parameters, steps[:1], learned, squared)
    exact = torch.autograd.grad(
        squared(unrolled_sgd(model, parameters, [steps[0](leaves)])), leaves["images"]
    )
    torch.testing.assert_close(one["images"], exact[0], rtol=1e-10, atol=1e-14)


class Live:
    """Counts the tensors that autograd keeps for later at any one time."""

    now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output that knew its node would keep it alive
        Live.now += 1
        Live.most = max(Live.most, Live.now)

    def __del__(self) -> None:
        Live.now -= 1


def kept(run: Callable[[], object]) -> int:
    """Return how many tensors autograd keeps at most while a function runs."""
    Live.most = Live.now = 0
    with torch.autograd.graph.saved_tensors_hooks(Live, lambda live: live.tensor):
        run()
    return Live.most


def test_gradients_step_by_step_keep_one_step_however_many_there_are() -> None:
    model, parameters, images, lrs = setting("convnet-w4-d1")
    most: dict[int, tuple[int, int]] = {}
    for repeats in (1, 4):
        learned, steps = learned_tensors(images.repeat(repeats, 1, 1, 1, 1), lrs.repeat(repeats))
        leaves = {key: tensor.clone().requires_grad_() for key, tensor in learned.items()}
        most[repeats] = (
            kept(partial(gradients_step_by_step, model, parameters, steps, learned, squared)),
            kept(partial(unrolled_sgd, model, parameters, [make(leaves) for make in steps])),
        )
    assert most[4][0] == most[1][0]
    assert most[4][1] > 3 * most[1][1]
