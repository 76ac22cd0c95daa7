"""Dataset Distillation (Wang, Zhu, Torralba, Efros 2018): images, and learning rates to train on them with.

A network is trained for a few steps on the synthetic images, each step with a learning rate of its own, and judged by
its loss on real images. That loss is differentiated through the whole training, with respect to the pixels and to the
learning rates, and Adam moves both.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.matching.unrolled import InnerStep, unrolled_sgd
from datacondense.networks.backend import Backend
from datacondense.networks.initial_values import with_xavier_values
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Network, Parameters
from datacondense.settings import check_at_least, check_rates, narrowed

InitialValues: TypeAlias = Literal["xavier", "default"]

_BETAS = (0.5, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class DatasetDistillationConfig(MethodConfig):
    """Settings of Dataset Distillation (Wang et al. 2018); the defaults are the published ones.

    Attributes:
        image_lr: Learning rate of Adam, for the images and for the learning rates.
        real_batch: Real images of all classes together on which the trained network is judged: one batch after the
            other of the full data set, in a new order in every epoch.
        initial_values: What networks begin as: "xavier" (Glorot and Bengio 2010, zero biases), as published, or
            "default", as for all other methods. The set's own learned steps train networks that begin likewise.
        images_per_step: Images of each class in one step of the network's training; ipc must be a multiple of it.
        inner_epochs: Passes over the synthetic images, in their order, that train the network.
        step_lr: What the learning rate of each training step begins as; every step learns its own. Default: 0.02, and
            0.001 for alexcifarnet.
        fixed_network: Learn for one network, always the same for a seed, instead of a fresh one in every iteration.
        halve_every: Iterations after which the learning rate is halved, again and again.
        precision: "float64", slow, for checks; everything is float32 with "auto", "float32" and "bfloat16" alike, since
            nothing here is of first order only.
        engine: "auto" or "eager", which are the same here for the same reason.
    """

    published_iterations: ClassVar[int] = 23600  # on MNIST: 400 epochs of 59 updates
    _name: ClassVar[str] = "dataset-distillation"

    image_lr: float = 0.01
    real_batch: int = 1024
    initial_values: InitialValues = "xavier"
    images_per_step: int = 1
    inner_epochs: int = 3
    step_lr: float | None = None
    fixed_network: bool = False
    halve_every: int = 2360

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "images_per_step", "inner_epochs", "halve_every")
        check_rates(self, "step_lr")
        if self.initial_values not in get_args(InitialValues):
            raise InputError(
                f"initial_values is {self.initial_values!r}: choose one of 'xavier' and 'default'."
            )
        if self.ipc % self.images_per_step:
            raise InputError(
                f"ipc is {self.ipc}, but must be a multiple of images_per_step, which is {self.images_per_step}: give "
                f"such as --ipc {(self.ipc // self.images_per_step + 1) * self.images_per_step}."
            )
        if self.ipc_of:
            raise InputError(
                "ipc_of is given, but every step of dataset distillation takes as many images of each class: leave it "
                "out, or choose another method."
            )
        if self.engine == "fused":
            raise InputError(
                "engine is 'fused', but dataset distillation differentiates all training twice, which only torch's own "
                "layers can: give 'auto'."
            )

    @property
    def inner_steps(self) -> int:
        """Steps of the network's training before it is judged."""
        return self.inner_epochs * (self.ipc // self.images_per_step)

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        fixed = ", always the same" if self.fixed_network else ""
        return (
            f"{self.name} with {network_name(self.network)}{fixed}, {self.size}, {self.inner_steps} inner steps, "
            f"B = {self.real_batch}"
        )

    def resolved(self, *, may_be_mirrored: bool = True) -> "_Resolved":
        """Return the settings with the first learning rate of the steps filled in.

        Args:
            may_be_mirrored: Not used.

        Returns:
            The resolved settings.
        """
        network = canonical_network(self.network)
        step_lr = self.step_lr or (0.001 if network == "alexcifarnet" else 0.02)
        return narrowed(_Resolved, self, network=network, step_lr=step_lr)

    @property
    def method(self) -> "type[DatasetDistillation]":
        """Dataset Distillation."""
        return DatasetDistillation


@dataclass(frozen=True, kw_only=True)
class _Resolved(DatasetDistillationConfig):
    step_lr: float = field()


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
    """Compute one step of Adam (Kingma and Ba 2015, Algorithm 1) with the published decays 0.5 and 0.999."""
    mean = _BETAS[0] * moving.mean + (1 - _BETAS[0]) * gradient
    square = _BETAS[1] * moving.square + (1 - _BETAS[1]) * gradient.square()
    deviation = (square / (1 - _BETAS[1] ** number)).sqrt() + _EPSILON
    return Moving(moving.value - lr * mean / (1 - _BETAS[0] ** number) / deviation, mean, square)


class DatasetDistillation(Method[_Resolved]):
    """For each fresh network: train it on the images, judge it on real ones, move images and learning rates."""

    def adapted(self, network: Network) -> Network:
        """Return the network with the initial values of the settings."""
        return with_xavier_values(network) if self.settings.initial_values == "xavier" else network

    def _choose_backend(self) -> Backend:
        # All training is differentiated twice, so nothing is left for a faster form.
        return Backend("eager", "float64" if self.settings.precision == "float64" else "float32")

    def init(self) -> State:
        """Return the images and learning rates with which the run begins."""
        images = super().init().images
        raw_lrs = images.new_full((self.settings.inner_steps,), _inverse_softplus(self.settings.step_lr))
        return _state(*(Moving(value, *[torch.zeros_like(value)] * 2) for value in (images, raw_lrs)))

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move images and learning rates once."""
        images = Moving(state.images, state.velocity, state.other["images_square"])
        raw_lrs = Moving(*(state.other[name] for name in ("raw_lrs", "raw_lrs_mean", "raw_lrs_square")))
        loss, gradients = self._gradients(images.value, raw_lrs.value, step)
        lr = self.settings.image_lr * 0.5 ** (step.outer // self.settings.halve_every)
        moved = [
            adam_step(moving, gradient, lr=lr, number=step.outer + 1)
            for moving, gradient in zip((images, raw_lrs), gradients, strict=True)
        ]
        return _state(*moved), loss

    def _gradients(self, images: Tensor, raw_lrs: Tensor, step: Step) -> tuple[float, tuple[Tensor, ...]]:
        """Differentiate the loss of real images through the training on synthetic ones."""
        number = 0 if self.settings.fixed_network else step.outer
        parameters = self.sampler.network(self.network, "network", number)
        buffers = self.sampler.frozen_buffers(self.network, parameters, number)
        real = self.sampler.real_of_all(self.settings.real_batch, "real", step.outer)
        loss, gradients = self.graphs.replay(
            "synthetic", self._differentiated, images, raw_lrs, parameters, buffers, *real
        )
        return float(loss), gradients

    def _differentiated(
        self,
        images: Tensor,
        raw_lrs: Tensor,
        parameters: Parameters,
        buffers: Parameters,
        real: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the loss of real images and its gradients in the synthetic ones and the learning rates."""
        model = partial(self.network, buffers=buffers)
        leaves = [tensor.detach().requires_grad_() for tensor in (images, raw_lrs)]
        trained = unrolled_sgd(
            model, parameters, self._inner_steps(self.decoded(leaves[0]), F.softplus(leaves[1]))
        )
        loss = F.cross_entropy(model(trained, real), targets)
        return loss.detach(), torch.autograd.grad(loss, leaves)

    def _inner_steps(self, images: Tensor, step_lrs: Tensor) -> list[InnerStep]:
        """List the training steps: through the images in order, in every epoch with the next learning rates."""
        size = self.settings.images_per_step * self.settings.factor**2
        labels = self.labels.repeat_interleave(size)
        batches = [part.flatten(0, 1) for part in images.split(size, dim=1)] * self.settings.inner_epochs
        return [InnerStep(batch, labels, lr) for batch, lr in zip(batches, step_lrs, strict=True)]


def _state(images: Moving, raw_lrs: Moving) -> State:
    """Name what a run keeps; the rates once as they are used and once as they are moved."""
    return State(
        images=images.value,
        velocity=images.mean,
        learned={"step_lrs": F.softplus(raw_lrs.value)},
        other={
            "images_square": images.square,
            "raw_lrs": raw_lrs.value,
            "raw_lrs_mean": raw_lrs.mean,
            "raw_lrs_square": raw_lrs.square,
        },
    )


def _inverse_softplus(value: float) -> float:
    """Compute the number whose softplus is a positive value, however large or small."""
    return value + math.log(-math.expm1(-value))
