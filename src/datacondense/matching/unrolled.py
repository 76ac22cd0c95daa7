"""Gradient descent that can itself be differentiated, for methods that learn images through the training on them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.matching.class_gradients import Model
from datacondense.networks.network import Parameters


class InnerStep(NamedTuple):
    """One step of gradient descent.

    Attributes:
        images: Normalised images `[N, C, H, W]`, all of the batch.
        labels: Their classes `[N]`.
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
    parameters = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    for images, labels, lr in steps:
        loss = F.cross_entropy(model(parameters, images), labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        parameters = {
            name: parameter - lr * gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }
    return parameters
