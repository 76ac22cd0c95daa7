"""The measurement of gradient noise: what random networks and batches ask of the pixels, and on what they agree."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from datacondense.matching.decomposition import decompose
from datacondense.studies.data_source import DataSource
from datacondense.studies.task import Task, Workspace
from datacondense.studies.tasks import Condense, method_settings
from datacondense.studies.timing import seconds_of

if TYPE_CHECKING:
    from datacondense.condensation.gradient_matching import GradientMatching

_MOST_NUMBERS = 2**30  # of all gradients together: 4 GiB


@dataclass(frozen=True, kw_only=True)
class MeasureNoise:
    """Take the pixel gradients of random networks and real batches, and split their squared length.

    Attributes:
        data: The data set.
        method: Settings of the method, without None.
        seed: Seed of everything that is drawn.
        num_networks: Random networks, R.
        num_batches: Real batches, D; each network sees each of them.
        at: The cell that learns the images at which gradients are taken; the method's own starting images where None.
    """

    tag: ClassVar[str] = "NoiseCell"
    data: DataSource
    method: GradientMatchingConfig
    seed: int
    num_networks: int
    num_batches: int
    at: Condense | None = None

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        untrained = replace(self.method, matching_steps=1)  # a probe has no training between steps
        return f"probe {untrained.kind}: {self.num_networks} networks, {self.num_batches} batches"

    @property
    def inputs(self) -> Sequence[Task]:
        """The learned images, if any."""
        return () if self.at is None else (self.at,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Method, seed, numbers and images."""
        return {
            "method": method_settings(self.method, self.data.name),
            "seed": self.seed,
            "num_networks": self.num_networks,
            "num_batches": self.num_batches,
            "images": self.data.training_content,
        }

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Take all gradients and split their squared length, for each class and for all together.

        Args:
            place: Folders and device.

        Returns:
            The decompositions, None for classes whose gradients are all zero, and the seconds of all gradients.

        Raises:
            InputError: The transforms cannot apply, or the gradients are too many to be held or not finite.
        """
        built, train = self._built(place.device)
        images = built.init().images
        if self.at is not None:
            images = _learned(self.at.image_set(place)).to(images)
        began = time.perf_counter()
        gradients = self._gradients(built, images)
        seconds = time.perf_counter() - began
        return {
            "all_classes": _split(gradients),
            "classes": [
                {"name": name, "parts": _split(gradients[:, :, label])}
                for label, name in enumerate(train.class_names)
            ],
            "gradient_seconds": seconds,
            "environment": {**environment(place.device), **built.backend._asdict()},
        }

    def estimate(self, device: torch.device) -> float:
        """Time one gradient, after one to warm up.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.

        Raises:
            InputError: As `run`.
        """
        built, _ = self._built(device)
        images = built.init().images
        one = [seconds_of(lambda: built.probe(images, network=0, batch=0), device) for _ in range(2)][1]
        return one * self.num_networks * self.num_batches

    def _built(self, device: torch.device) -> tuple["GradientMatching", ImageSet]:
        """Make the method, and refuse what would not fit into memory before anything is computed."""
        train = self.data.read().train
        check_trainable(train)
        numbers = (
            self.num_networks,
            self.num_batches,
            train.num_classes,
            self.method.ipc,
            *train.image_shape,
        )
        if prod(numbers) > _MOST_NUMBERS:
            raise InputError(
                f"{self.num_networks} networks × {self.num_batches} batches of gradients for {self.method.ipc} images "
                f"of each class are {prod(numbers):,} numbers, but at most {_MOST_NUMBERS:,} are held at once: give "
                "fewer --num-networks or --num-batches, or a smaller --ipc."
            )
        train = train.to(device)
        return self.method.build(train, self.seed), train

    def _gradients(self, built: "GradientMatching", images: Tensor) -> Tensor:
        """Take the gradient `[R, D, K, S, C, H, W]` of every network on every batch."""
        gradients = torch.empty(self.num_networks, self.num_batches, *images.shape, dtype=images.dtype)
        for network in range(self.num_networks):
            for batch in range(self.num_batches):
                gradients[network, batch] = built.probe(images, network=network, batch=batch)
        return gradients


def _learned(images: ImageSet) -> Tensor:
    """Give the images of a condensed set as networks see them, class by class `[K, S, C, H, W]`."""
    return torch.stack([images.normalised(indices) for indices in images.class_indices])


def _split(gradients: Tensor) -> dict[str, Any] | None:
    """Decompose gradients `[R, D, ...]`; None where a transform has left nothing of them."""
    return asdict(decompose(gradients)) if bool(gradients.any()) else None
