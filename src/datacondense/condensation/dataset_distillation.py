"""Dataset Distillation (Wang, Zhu, Torralba, Efros 2018): images, and learning rates to train on them with.

A network is trained for a few steps on the synthetic images, each step with a learning rate of its own, and judged by
its loss on real images. That loss is differentiated through the whole training, with respect to the pixels and to the
learning rates, and Adam moves both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.learned_labels import LABEL_LOGITS, current_labels, first_logits
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.matching.unrolled import InnerStep, unrolled_gradients
from datacondense.networks.backend import Backend
from datacondense.networks.initial_values import with_xavier_values
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Network, Parameters
from datacondense.settings import added, check_at_least, check_rates, narrowed

InitialValues: TypeAlias = Literal["xavier", "default"]

_RAW_LRS = "raw_lrs"
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
        learn_labels: Learn a distribution over the classes for each decoded image, which begins with 0.9 for its class.
        label_lr: Learning rate of Adam for the labels' logits.
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
    learn_labels: bool = False
    label_lr: float = added(0.01)
    halve_every: int = 2360

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "images_per_step", "inner_epochs", "halve_every")
        check_rates(self, "step_lr", "label_lr")
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
    def real_batches_per_iteration(self) -> int:
        """None of a single class."""
        return 0

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
        """Return the images and learning rates with which the run begins, and the labels where they are learned."""
        images = super().init().images
        raw_lrs = images.new_full((self.settings.inner_steps,), _inverse_softplus(self.settings.step_lr))
        values = {"images": images, _RAW_LRS: raw_lrs}
        if self.settings.learn_labels:
            _, classes = self.in_one_batch(self.decoded(images))
            values[LABEL_LOGITS] = first_logits(classes, len(self.labels)).to(images)
        return _state({name: Moving(value, *[torch.zeros_like(value)] * 2) for name, value in values.items()})

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move images, learning rates and labels once."""
        moving = _moving(state)
        loss, gradients = self._gradients({name: each.value for name, each in moving.items()}, step)
        lrs = dict.fromkeys(moving, self.settings.image_lr) | {LABEL_LOGITS: self.settings.label_lr}
        halved = 0.5 ** (step.outer // self.settings.halve_every)
        return _state({
            name: adam_step(each, gradients[name], lr=lrs[name] * halved, number=step.outer + 1)
            for name, each in moving.items()
        }), loss

    def _gradients(self, learned: Parameters, step: Step) -> tuple[float, Parameters]:
        """Differentiate the loss of real images through the training on synthetic ones."""
        number = 0 if self.settings.fixed_network else step.outer
        parameters = self.sampler.network(self.network, "network", number)
        buffers = self.sampler.frozen_buffers(self.network, parameters, number)
        real = self.sampler.real_of_all(self.settings.real_batch, "real", step.outer)
        loss, gradients = self.graphs.replay(
            "synthetic", self._differentiated, learned, parameters, buffers, *real
        )
        return float(loss), gradients

    def _differentiated(
        self,
        learned: Parameters,
        parameters: Parameters,
        buffers: Parameters,
        real: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Parameters]:
        """Return the loss of real images, and its gradients in all that is learned."""
        model = partial(self.network, buffers=buffers)
        steps = [partial(self._inner_step, number) for number in range(self.settings.inner_steps)]
        return unrolled_gradients(
            model, parameters, steps, learned, lambda end: F.cross_entropy(model(end, real), targets)
        )

    def _inner_step(self, number: int, learned: Mapping[str, Tensor]) -> InnerStep:
        """Return a training step: through the images in order, in every epoch with the next learning rates."""
        size, tiles = self.settings.images_per_step, self.settings.factor**2
        first = number * size % self.settings.ipc
        images = self.decoded(learned["images"][:, first : first + size]).flatten(0, 1)
        classes = self.labels.repeat_interleave(self.settings.ipc * tiles)
        labels = current_labels(learned, classes).unflatten(0, (len(self.labels), -1))
        own = labels[:, first * tiles : (first + size) * tiles].flatten(0, 1)
        return InnerStep(images, own, F.softplus(learned[_RAW_LRS][number]))


def _state(moving: Mapping[str, Moving]) -> State:
    """Name what a run keeps; the rates once as they are used and once as they are moved."""
    images, raw_lrs = moving["images"], moving[_RAW_LRS]
    other = {"images_square": images.square, _RAW_LRS: raw_lrs.value}
    for name in moving.keys() - {"images"}:
        other |= {f"{name}_mean": moving[name].mean, f"{name}_square": moving[name].square}
    learned = {name: moving[name].value for name in moving.keys() & {LABEL_LOGITS}}
    return State(
        images=images.value,
        velocity=images.mean,
        learned={"step_lrs": F.softplus(raw_lrs.value), **learned},
        other=other,
    )


def _moving(state: State) -> dict[str, Moving]:
    """Return by name what Adam moves."""
    other = state.other
    values = {_RAW_LRS: other[_RAW_LRS]}
    values |= {name: state.learned[name] for name in state.learned.keys() & {LABEL_LOGITS}}
    return {"images": Moving(state.images, state.velocity, other["images_square"])} | {
        name: Moving(value, other[f"{name}_mean"], other[f"{name}_square"]) for name, value in values.items()
    }


def _inverse_softplus(value: float) -> float:
    """Compute the number whose softplus is a positive value, however large or small."""
    return value + math.log(-math.expm1(-value))
