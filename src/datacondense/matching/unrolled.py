"""Gradient descent that can itself be differentiated, for methods that learn images through the training on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.matching.class_gradients import Model
from datacondense.networks.network import Parameters


class InnerStep(NamedTuple):
    """One step of gradient descent.

    Attributes:
        images: Normalised images `[N, C, H, W]`, all of the batch.
        labels: Their classes `[N]`, int64, or a distribution over the classes for each `[N, K]`.
        lr: Learning rate, a number or a scalar tensor.
    """

    images: Tensor
    labels: Tensor
    lr: Tensor | float


def unrolled_sgd(model: Model, parameters: Parameters, steps: Sequence[InnerStep]) -> Parameters:
    """Return the parameters after steps of plain gradient descent, with the graph of all of them.

    With the mean cross-entropy L of a batch, step i is θ_{i+1} = θ_i - η_i ∇_θ L(θ_i; x_i, y_i). The result is
    differentiable in the steps' images and learning rates, but not in θ_0. Memory grows with the number of steps.
    """
    parameters = _leaves(parameters)
    for step in steps:
        parameters = _descended(model, parameters, step, differentiable=True)
    return parameters


MakeStep: TypeAlias = Callable[[Mapping[str, Tensor]], InnerStep]
"""From the tensors that are learned, by name, to a step on them."""


def unrolled_gradients(
    model: Model,
    parameters: Parameters,
    steps: Sequence[MakeStep],
    learned: Mapping[str, Tensor],
    loss: Callable[[Parameters], Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Differentiate a loss of where plain gradient descent ends, through all of it.

    Args:
        model: The network as a function of (parameters, images).
        parameters: θ_0, constant.
        steps: For each step, what makes it of the tensors that are learned.
        learned: The tensors that are learned, by name.
        loss: The loss of θ_n, a scalar.

    Returns:
        The loss, and its gradients in the tensors that are learned, by name; none with a graph.
    """
    leaves = _leaves(learned)
    value = loss(unrolled_sgd(model, parameters, [make(leaves) for make in steps]))
    gradients = torch.autograd.grad(value, list(leaves.values()))
    return value.detach(), dict(zip(leaves, gradients, strict=True))


def gradients_step_by_step(
    model: Model,
    parameters: Parameters,
    steps: Sequence[MakeStep],
    learned: Mapping[str, Tensor],
    loss: Callable[[Parameters], Tensor],
    own: range | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Differentiate as `unrolled_gradients` does, but in the memory of one step (Cui et al., ICML 2023, "TESLA").

    Since θ_n = θ_0 - Σ_i η_i ∇_θ L(θ_i; x_i, y_i), a loss F(θ_n) has the slope -η_i (∂F/∂θ_n)·∂/∂x_i ∇_θ L(θ_i; x_i,
    y_i) in x_i, where the later θ_j count as constants (section 3.2). The first pass finds θ_n and ∂F/∂θ_n, the second
    goes the same way again and differentiates every step by itself.

    Args:
        model: See `unrolled_gradients`.
        parameters: Likewise.
        steps: Likewise.
        learned: Likewise, but each step must use all of them.
        loss: Likewise.
        own: Steps that the second pass differentiates, one after the other; all where None.

    Returns:
        The loss, and the gradients by name, to which those of other steps are to be added.
    """
    leaves = _leaves(learned)
    own = range(len(steps)) if own is None else own
    end = parameters
    for number, make in enumerate(steps):
        parameters = end if number == own.start else parameters
        end = _descended(model, _leaves(end), make(learned), differentiable=False)
    end = _leaves(end)
    value = loss(end)
    slopes = torch.autograd.grad(value, list(end.values()))
    gradients = [torch.zeros_like(tensor) for tensor in leaves.values()]
    for make in steps[own.start : own.stop]:
        parameters = _descended(model, _leaves(parameters), make(leaves), differentiable=True)
        found = torch.autograd.grad(list(parameters.values()), list(leaves.values()), slopes)
        gradients = [total + own for total, own in zip(gradients, found, strict=True)]
    return value.detach(), dict(zip(leaves, gradients, strict=True))


def _descended(model: Model, parameters: Parameters, step: InnerStep, *, differentiable: bool) -> Parameters:
    """Take one step of gradient descent from parameters that require a gradient."""
    loss = F.cross_entropy(model(parameters, step.images), step.labels)
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=differentiable)
    return {
        name: parameter - step.lr * gradient
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
    }


def _leaves(tensors: Mapping[str, Tensor]) -> Parameters:
    """Return the same tensors as leaves that require a gradient."""
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
