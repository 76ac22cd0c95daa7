"""Unrolled descent against finite differences, and its way against training without a graph."""

from functools import partial

import pytest
import torch
from torch import Tensor

from datacondense.matching.class_gradients import Model
from datacondense.matching.unrolled import InnerStep, unrolled_sgd
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
