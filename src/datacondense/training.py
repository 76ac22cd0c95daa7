"""Stochastic gradient descent on a few images: the inner loop of condensation and the training in evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.matching.gradients import Model
from datacondense.networks.network import Parameters

Augmentation = Callable[[Tensor], Tensor]
Watcher = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class SGD:
    """The update `v = momentum * v + gradient + weight_decay * p`, `p = p - lr * v`.

    Attributes:
        lr: Learning rate.
        momentum: Share of the last update that is kept, 0 to 1.
        weight_decay: Weight of the squared norm of the parameters.
        batch_size: Images per update; a smaller set is one batch.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256


def zero_velocity(parameters: Parameters) -> Parameters:
    """Give the momentum with which training begins.

    Args:
        parameters: Parameters by name.

    Returns:
        Zeros of the same shapes.
    """
    return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}


def train(
    model: Model,
    parameters: Parameters,
    velocity: Parameters,
    images: Tensor,
    labels: Tensor,
    *,
    sgd: SGD,
    epochs: int,
    generator: torch.Generator,
    augmentation: Augmentation | None = None,
    watch: Watcher | None = None,
) -> tuple[Parameters, Parameters]:
    """Train on all images for some epochs, minimising the mean cross-entropy of each batch.

    Args:
        model: Function from (parameters, images) to logits `[N, K]`.
        parameters: Where training begins; not changed.
        velocity: Momentum by parameter name; not changed.
        images: Normalised images `[N, C, H, W]`.
        labels: Their classes `[N]`.
        sgd: Learning rate, momentum, weight decay and batch size.
        epochs: Passes over the images, each in a new order.
        generator: Draws the orders.
        augmentation: Gives a changed copy of each batch before it is used.
        watch: Called for each batch, before its update, with positions `[B]` and logits `[B, K]`.

    Returns:
        The trained parameters and their momentum, new tensors.
    """
    parameters = {name: parameter.detach().clone().requires_grad_() for name, parameter in parameters.items()}
    velocity = {name: tensor.clone() for name, tensor in velocity.items()}
    for _ in range(epochs):
        # One batch needs no order: the mean over it does not depend on one, and gathering costs time.
        for batch in _batches(len(images), sgd.batch_size, generator, images.device):
            inputs = images if batch is None else images[batch]
            if augmentation is not None:
                inputs = augmentation(inputs)
            targets = labels if batch is None else labels[batch]
            logits = model(parameters, inputs)
            if watch is not None:
                watch(
                    torch.arange(len(images), device=images.device) if batch is None else batch,
                    logits.detach(),
                )
            loss = F.cross_entropy(logits, targets)
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            _update(parameters, velocity, gradients, sgd)
    return {name: parameter.detach() for name, parameter in parameters.items()}, velocity


def _batches(
    num_images: int, batch_size: int, generator: torch.Generator, device: torch.device
) -> list[Tensor] | list[None]:
    """Give the positions of each batch of one epoch; None stands for all images in their order."""
    if num_images <= batch_size:
        return [None]
    return list(torch.randperm(num_images, generator=generator).to(device).split(batch_size))


@torch.no_grad()
def _update(parameters: Parameters, velocity: Parameters, gradients: tuple[Tensor, ...], sgd: SGD) -> None:
    """Move the parameters by one step, in place."""
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        step = gradient.add(parameter, alpha=sgd.weight_decay) if sgd.weight_decay else gradient
        velocity[name].mul_(sgd.momentum).add_(step)
        parameter.sub_(velocity[name], alpha=sgd.lr)
