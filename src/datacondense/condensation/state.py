"""What a method carries from one step to the next, and which step that is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from datacondense.matching.pixel_filter import Moments
from datacondense.networks.network import Parameters


class Step(NamedTuple):
    """A step of the loop; steps are ordered as the loop visits them.

    Attributes:
        outer: Number of the iteration, from 0.
        inner: Number of the step within it, from 0.
    """

    outer: int
    inner: int


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
        """Return the state before the first step.

        Args:
            images: Where the images begin `[K, S, C, H, W]`, normalised.

        Returns:
            These images at rest.
        """
        return State(images=images, velocity=torch.zeros_like(images))

    def descended(self, gradient: Tensor, *, lr: float, momentum: float) -> "State":
        """Move the images by one step of gradient descent: `v = momentum·v + gradient`, `x = x - lr·v`.

        Args:
            gradient: Of the loss with respect to the images `[K, S, C, H, W]`.
            lr: Learning rate.
            momentum: Share of the last update that is kept, 0 to 1.

        Returns:
            The new state, everything else as it was.
        """
        velocity = momentum * self.velocity + gradient
        return replace(self, images=self.images - lr * velocity, velocity=velocity)

    def to_tensors(self) -> dict[str, Tensor]:
        """Name every tensor, for a file.

        Returns:
            The tensors by unique name.
        """
        named = {"images": self.images, "velocity": self.velocity}
        named |= {} if self.average is None else {"average": self.average}
        named |= (
            {}
            if self.moments is None
            else {f"moments/{name}": t for name, t in self.moments._asdict().items()}
        )
        groups = {
            "parameters": self.parameters,
            "parameter_velocity": self.parameter_velocity,
            "learned": self.learned,
            "other": self.other,
        }
        for group, tensors in groups.items():
            named |= {f"{group}/{name}": tensor for name, tensor in tensors.items()}
        return named

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> "State":
        """Undo `to_tensors`.

        Args:
            tensors: Tensors by the names that `to_tensors` gave.

        Returns:
            The same state.
        """

        def group(prefix: str) -> Parameters:
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }

        moments = group("moments/")
        return State(
            images=tensors["images"],
            velocity=tensors["velocity"],
            parameters=group("parameters/"),
            parameter_velocity=group("parameter_velocity/"),
            average=tensors.get("average"),
            moments=Moments(**moments) if moments else None,
            learned=group("learned/"),
            other=group("other/"),
        )
