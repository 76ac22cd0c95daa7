"""What a method carries from one step to the next, and which step that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching.pixel_filter import Moments
from datacondense.networks.network import Parameters
from datacondense.tensor_files import flattened, group_of

_AVERAGING = 3  # step t weighs about t to this power: half of the weight lies on the last 16 % of the steps


class Step(NamedTuple):
    """A step of the loop; steps are ordered as the loop visits them.

    Attributes:
        outer: Number of the iteration, from 0.
        inner: Number of the step within it, from 0.
    """

    outer: int
    inner: int

    def after(self, steps_per_iteration: int) -> "Step":
        """Return the step that follows."""
        if self.inner + 1 < steps_per_iteration:
            return Step(self.outer, self.inner + 1)
        return Step(self.outer + 1, 0)

    def number(self, steps_per_iteration: int) -> int:
        """Return the number of the step in the run, from 1."""
        return self.outer * steps_per_iteration + self.inner + 1


@dataclass(frozen=True, kw_only=True)
class State:
    """The record that a step takes and gives; its tensors are never changed in place.

    Attributes:
        images: Synthetic images `[K, S, C, H, W]`, normalised.
        velocity: Their momentum `[K, S, C, H, W]`.
        parameters: The network of the current iteration, by name.
        parameter_velocity: The network's momentum, by name.
        average: The average of the images over the steps `[K, S, C, H, W]`, where the method keeps one.
        moments: Running means of the pixel gradient and of its square, where the method shrinks by them.
        learned: What the method learns beside the images and returns with them, by name.
        other: What else the method keeps, by name.
    """

    images: Tensor
    velocity: Tensor
    parameters: Parameters = field(default_factory=dict)
    parameter_velocity: Parameters = field(default_factory=dict)
    average: Tensor | None = None
    moments: Moments | None = None
    learned: Mapping[str, Tensor] = field(default_factory=dict)
    other: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def result(self) -> Tensor:
        """The images that a run would return if it ended here `[K, S, C, H, W]`, normalised."""
        return self.images if self.average is None else self.average

    @staticmethod
    def begun(images: Tensor) -> "State":
        """Return the state before the first step: normalised images `[K, S, C, H, W]` at rest."""
        return State(images=images, velocity=torch.zeros_like(images))

    def averaged(self) -> "State":
        """Return the state before the first step of a run whose result is the average of its images."""
        return replace(self, average=self.images)

    def descended(self, gradient: Tensor, *, lr: float, momentum: float, number: int) -> "State":
        """Move the images by one step of gradient descent: `v = momentum·v + gradient`, `x = x - lr·v`.

        Where an average is kept, the images of step `number`, from 1, are taken into it (Shamir and Zhang 2013,
        polynomial-decay averaging).
        """
        velocity = momentum * self.velocity + gradient
        images, average = self.images - lr * velocity, self.average
        if average is not None:
            average = average + (_AVERAGING + 1) / (_AVERAGING + number) * (images - average)
        return replace(self, images=images, velocity=velocity, average=average)

    def learned_descended(
        self, gradients: Mapping[str, Tensor], *, lrs: Mapping[str, float], momentum: float
    ) -> "State":
        """Move what is learned beside the images likewise, each by its own rate; its momentum is in `other`."""
        learned, other = dict(self.learned), dict(self.other)
        for name, gradient in gradients.items():
            key = f"{name}_velocity"
            other[key] = gradient + (momentum * other[key] if key in other else 0)
            learned[name] = learned[name] - lrs[name] * other[key]
        return replace(self, learned=learned, other=other)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return every tensor by a unique name, for a file."""
        alone = {"images": self.images, "velocity": self.velocity}
        groups = {
            "moments": {} if self.moments is None else self.moments._asdict(),
            "parameters": self.parameters,
            "parameter_velocity": self.parameter_velocity,
            "learned": self.learned,
            "other": self.other,
        }
        return alone | ({} if self.average is None else {"average": self.average}) | flattened(groups)

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> "State":
        """Return the state that `to_tensors` named."""
        moments = group_of(tensors, "moments")
        return State(
            images=tensors["images"],
            velocity=tensors["velocity"],
            parameters=group_of(tensors, "parameters"),
            parameter_velocity=group_of(tensors, "parameter_velocity"),
            average=tensors.get("average"),
            moments=Moments(**moments) if moments else None,
            learned=group_of(tensors, "learned"),
            other=group_of(tensors, "other"),
        )


def check_finite(state: State, step: Step, image_lr: float | None) -> None:
    """Stop before a broken state is saved."""
    tensors = (state.images, state.velocity, *state.learned.values())
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        smaller = "" if image_lr is None else f", such as {image_lr / 10:g}"
        raise InputError(
            f"The images became NaN or infinite in iteration {step.outer}, step {step.inner}, with image_lr "
            f"{image_lr}: give a smaller --image-lr{smaller}."
        )
