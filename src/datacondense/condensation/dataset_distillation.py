"""Dataset Distillation (Wang, Zhu, Torralba, Efros 2018): images, and learning rates to train on them with.

A network is trained for a few steps on the synthetic images, each step with a learning rate of its own, and judged by
its loss on real images. That loss is differentiated through the whole training, with respect to the pixels and to the
learning rates, and Adam moves both.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.dataset_distillation_config import DatasetDistillationConfig
from datacondense.condensation.method import Sampler, check_class_sizes
from datacondense.condensation.state import State, Step
from datacondense.image_set import ImageSet
from datacondense.matching.unrolled import InnerStep, unrolled_sgd
from datacondense.networks.builder import build_network
from datacondense.networks.fused import Backend

_BETAS = (0.5, 0.999)
_EPSILON = 1e-8


class Moving(NamedTuple):
    """A tensor that Adam moves, and what Adam remembers of its gradients.

    Attributes:
        value: The tensor.
        mean: Running mean of its gradients, of its shape, not yet divided by the sum of its weights.
        square: Running mean of their squares, likewise.
    """

    value: Tensor
    mean: Tensor
    square: Tensor


def adam_step(moving: Moving, gradient: Tensor, *, lr: float, number: int) -> Moving:
    """Move a tensor by Adam (Kingma and Ba 2015, Algorithm 1) with the published decays 0.5 and 0.999.

    Args:
        moving: As the step before left it, with zeros for both means at the first; not changed.
        gradient: Of the loss with respect to the tensor.
        lr: Learning rate.
        number: Number of this step, from 1.

    Returns:
        The moved tensor and its means.
    """
    mean = _BETAS[0] * moving.mean + (1 - _BETAS[0]) * gradient
    square = _BETAS[1] * moving.square + (1 - _BETAS[1]) * gradient.square()
    deviation = (square / (1 - _BETAS[1] ** number)).sqrt() + _EPSILON
    return Moving(moving.value - lr * mean / (1 - _BETAS[0] ** number) / deviation, mean, square)


class DatasetDistillation:
    """For each drawn network: train it on the images, ask real images how good it is, move images and rates."""

    def __init__(self, config: DatasetDistillationConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved(train.provenance.get("source", {}).get("name"))
        self._sampler = Sampler(train, seed, config.precision)
        self._network = build_network(config.network, train.image_shape, train.num_classes)
        self._backend = Backend("eager", "float64" if config.precision == "float64" else "float32")
        self._labels = torch.arange(train.num_classes, device=train.images.device)
        check_class_sizes(train, config)

    @property
    def backend(self) -> Backend:
        """How derivatives are computed: with torch's own layers, since none is of first order only."""
        return self._backend

    def init(self) -> State:
        """Give the images and learning rates with which the run begins.

        Returns:
            The state before the first step.
        """
        images = self._sampler.start(self._config)
        assert self._config.step_lr is not None
        raw_lrs = images.new_full((self._config.inner_steps,), _inverse_softplus(self._config.step_lr))
        return _state(*(Moving(value, *[torch.zeros_like(value)] * 2) for value in (images, raw_lrs)))

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move images and learning rates once.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the mean cross-entropy of real images under the trained network, before the update.
        """
        images = Moving(state.images, state.velocity, state.other["images_square"])
        raw_lrs = Moving(*(state.other[name] for name in ("raw_lrs", "raw_lrs_mean", "raw_lrs_square")))
        loss, gradients = self._gradients(images.value, raw_lrs.value, step)
        assert self._config.image_lr is not None
        lr = self._config.image_lr * 0.5 ** (step.outer // self._config.halve_every)
        moved = [
            adam_step(moving, gradient, lr=lr, number=step.outer + 1)
            for moving, gradient in zip((images, raw_lrs), gradients, strict=True)
        ]
        return _state(*moved), loss

    def _gradients(self, images: Tensor, raw_lrs: Tensor, step: Step) -> tuple[float, tuple[Tensor, ...]]:
        """Differentiate the loss of real images through the training on synthetic ones."""
        number = 0 if self._config.fixed_network else step.outer
        parameters = self._sampler.network(self._network, "network", number)
        model = partial(
            self._network, buffers=self._sampler.frozen_buffers(self._network, parameters, number)
        )
        size = self._config.real_batch
        real = torch.cat([self._sampler.real(k, size, "real", *step) for k in range(len(self._labels))])
        leaves = [tensor.detach().requires_grad_() for tensor in (images, raw_lrs)]
        trained = unrolled_sgd(model, parameters, self._inner_steps(leaves[0], F.softplus(leaves[1])))
        loss = F.cross_entropy(model(trained, real), self._labels.repeat_interleave(size))
        return float(loss.detach()), torch.autograd.grad(loss, leaves)

    def _inner_steps(self, images: Tensor, step_lrs: Tensor) -> list[InnerStep]:
        """Go through the images in order, again in every epoch, with the next learning rate each time."""
        size = self._config.images_per_step
        labels = self._labels.repeat_interleave(size)
        batches = [part.flatten(0, 1) for part in images.split(size, dim=1)] * self._config.inner_epochs
        return [InnerStep(batch, labels, lr) for batch, lr in zip(batches, step_lrs, strict=True)]


def _state(images: Moving, raw_lrs: Moving) -> State:
    """Name what a run keeps; the rates once as they are used and once as they are moved."""
    return State(
        images=images.value,
        velocity=images.mean,
        parameters={},
        parameter_velocity={},
        learned={"step_lrs": F.softplus(raw_lrs.value)},
        other={
            "images_square": images.square,
            "raw_lrs": raw_lrs.value,
            "raw_lrs_mean": raw_lrs.mean,
            "raw_lrs_square": raw_lrs.square,
        },
    )


def _inverse_softplus(value: float) -> float:
    """Give the number whose softplus is a positive value, however large or small."""
    return value + math.log(-math.expm1(-value))
