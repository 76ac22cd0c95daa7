"""Gradient noise: how much of the pixel gradient is common to random networks and batches, and how much is not."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from datacondense.condensation.gradient_matching import GradientMatching, GradientMatchingConfig
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from datacondense.matching.decomposition import decompose
from datacondense.studies.data_source import DataSource
from datacondense.studies.task import Task, Workspace
from datacondense.studies.tasks import Condense, method_settings
from datacondense.studies.timing import seconds_of

_MAX_NUMBERS = 2**30  # of all gradients together: 4 GiB


@dataclass(frozen=True, kw_only=True)
class MeasureNoise:
    """Compute the pixel gradients of random networks on real batches, and split their squared length.

    Attributes:
        data: The data set.
        method: Resolved settings of the method.
        seed: Seed of all random numbers.
        num_networks: Random networks, R.
        num_batches: Real batches, D; each network sees each of them.
        at: The task that condenses the images at which gradients are computed; None means the method's initial images.
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
        """The network, and whatever else determines the time."""
        untrained = replace(self.method, matching_steps=1)  # a probe does not train between steps
        return f"probe {untrained.kind}: {self.num_networks} networks, {self.num_batches} batches"

    @property
    def inputs(self) -> Sequence[Task]:
        """The condensed images, if any."""
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

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute all gradients and split their squared length, for each class and for all classes together.

        Args:
            workspace: Folders and device.

        Returns:
            The decompositions, None for classes whose gradients are all zero, and the seconds that all gradients took.

        Raises:
            InputError: A transform does not apply, or the gradients do not fit into memory or are not finite.
        """
        built, train = self._built(workspace.device)
        images = built.init().images
        if self.at is not None:
            images = _learned(self.at.image_set(workspace)).to(images)
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
            "environment": {**environment(workspace.device), **built.backend._asdict()},
        }

    def estimate(self, device: torch.device) -> float:
        """Time one gradient, after a warm-up.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.

        Raises:
            InputError: As `run`.
        """
        built, _ = self._built(device)
        images = built.init().images
        one = [seconds_of(lambda: built.probe(images, network=0, batch=0), device) for _ in range(2)][1]
        return one * self.num_networks * self.num_batches

    def _built(self, device: torch.device) -> tuple[GradientMatching, ImageSet]:
        """Build the method, after a check that the gradients fit into memory."""
        train = self.data.read().train
        check_trainable(train)
        numbers = (
            self.num_networks,
            self.num_batches,
            train.num_classes,
            self.method.ipc,
            *train.image_shape,
        )
        if prod(numbers) > _MAX_NUMBERS:
            raise InputError(
                f"{self.num_networks} networks × {self.num_batches} batches of gradients for {self.method.ipc} images "
                f"of each class are {prod(numbers):,} numbers, but at most {_MAX_NUMBERS:,} fit: reduce "
                "--num-networks, --num-batches or --ipc."
            )
        built = self.method.build(train := train.to(device), self.seed)
        assert isinstance(built, GradientMatching)
        return built, train

    def _gradients(self, built: GradientMatching, images: Tensor) -> Tensor:
        """Compute the gradient `[R, D, K, S, C, H, W]` of every network on every batch."""
        gradients = torch.empty(self.num_networks, self.num_batches, *images.shape, dtype=images.dtype)
        for network in range(self.num_networks):
            for batch in range(self.num_batches):
                gradients[network, batch] = built.probe(images, network=network, batch=batch)
        return gradients


def _learned(images: ImageSet) -> Tensor:
    """Return the normalised images of a condensed set, class by class `[K, S, C, H, W]`."""
    return torch.stack([images.normalised(indices) for indices in images.class_indices])


def _split(gradients: Tensor) -> dict[str, Any] | None:
    """Decompose gradients `[R, D, ...]`; None if a transform has set all of them to zero."""
    return asdict(decompose(gradients)) if bool(gradients.any()) else None
