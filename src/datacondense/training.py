"""The one loop over epochs: networks between condensation steps, in evaluation, and on a full data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.matching.gradients import Model
from datacondense.networks.network import Parameters

Inputs: TypeAlias = Callable[[Tensor], Tensor]
Watcher: TypeAlias = Callable[[Tensor, Tensor], None]


class DivergedError(InputError):
    """Training ended in numbers that are not finite: what they would classify is no accuracy."""


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


class TrainState(NamedTuple):
    """Training between two epochs.

    Attributes:
        epoch: The one that comes next, from 0.
        parameters: Parameters by name.
        velocity: Their momentum by name.
    """

    epoch: int
    parameters: Parameters
    velocity: Parameters

    @staticmethod
    def begun(parameters: Parameters) -> "TrainState":
        """Return the state before the first epoch: these parameters at rest."""
        return TrainState(0, parameters, zero_velocity(parameters))


def zero_velocity(parameters: Parameters) -> Parameters:
    """Return the momentum with which training begins: zeros of the same shapes."""
    return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}


def train(
    model: Model,
    start: TrainState,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    sgd: Callable[[int], SGD],
    order: Callable[[int], torch.Generator] | None = None,
    inputs: Callable[[int], Inputs] | None = None,
    watch: Watcher | None = None,
    after_epoch: Callable[[TrainState], None] | None = None,
) -> TrainState:
    """Return the state, in new tensors, after training until `epochs` in all are done, those of `start` included.

    Each batch's mean cross-entropy is minimised. What an epoch needs is a function of its number, so that training
    which was stopped after one goes on with the next: `sgd`, the generator that draws its `order` (needed for more than
    one batch), and `inputs`, which makes a batch's network inputs of its images, such as an augmentation. Images are
    normalised `[N, C, H, W]`, or whatever `inputs` makes them of, such as positions `[N]`. `watch` is called for each
    batch, before its update, with positions `[B]` and logits `[B, K]`; `after_epoch` with a state that changes in place
    later on.
    """
    parameters = {name: tensor.detach().clone().requires_grad_() for name, tensor in start.parameters.items()}
    velocity = {name: tensor.clone() for name, tensor in start.velocity.items()}
    for epoch in range(start.epoch, epochs):
        settings = sgd(epoch)
        change = None if inputs is None else inputs(epoch)
        for batch in _batches(images, settings.batch_size, None if order is None else order(epoch)):
            # One batch needs no order: the mean over it does not depend on one, and gathering costs time.
            seen = images if batch is None else images[batch]
            logits = model(parameters, seen if change is None else change(seen))
            if watch is not None:
                watch(
                    torch.arange(len(images), device=images.device) if batch is None else batch,
                    logits.detach(),
                )
            loss = F.cross_entropy(logits, labels if batch is None else labels[batch])
            _update(parameters, velocity, torch.autograd.grad(loss, list(parameters.values())), settings)
        if after_epoch is not None:
            after_epoch(TrainState(epoch + 1, _detached(parameters), velocity))
    return TrainState(max(start.epoch, epochs), _detached(parameters), velocity)


def check_finite(parameters: Parameters, lr: float) -> None:
    """Refuse trained parameters that are not finite."""
    bad = [name for name, tensor in parameters.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise DivergedError(
            f"Training diverged: {bad[0]} ({len(bad)} of {len(parameters)} parameters) became NaN or infinite with the "
            f"learning rate {lr:g}: give a smaller --lr, or look at the range of the pixels."
        )


def _batches(images: Tensor, size: int, generator: torch.Generator | None) -> list[Tensor] | list[None]:
    """Return the positions of each batch of one epoch; None stands for all images in their order."""
    if len(images) <= size:
        return [None]
    assert generator is not None, "more than one batch needs an order"
    return list(torch.randperm(len(images), generator=generator).to(images.device).split(size))


def _detached(parameters: Parameters) -> Parameters:
    return {name: parameter.detach() for name, parameter in parameters.items()}


@torch.no_grad()
def _update(parameters: Parameters, velocity: Parameters, gradients: tuple[Tensor, ...], sgd: SGD) -> None:
    """Move the parameters by one step, in place."""
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        step = gradient.add(parameter, alpha=sgd.weight_decay) if sgd.weight_decay else gradient
        velocity[name].mul_(sgd.momentum).add_(step)
        parameter.sub_(velocity[name], alpha=sgd.lr)
