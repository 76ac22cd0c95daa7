"""The task that computes the features of all training images, by which coreset selection compares them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from datacondense.environment import environment
from datacondense.image_set import ImageSet
from datacondense.networks.features import features_of
from datacondense.networks.network import moved
from datacondense.random import seeded_generator
from datacondense.studies.full_training import TrainFull
from datacondense.studies.task import Task, Workspace
from datacondense.studies.timing import first_images, seconds_of
from datacondense.tensor_files import read_tensors, write_tensors

_TIMED_IMAGES = 500
_COPIES = 4  # of all features in memory while their file is written
_FEATURES = "features.safetensors"


@dataclass(frozen=True, kw_only=True)
class ComputeFeatures:
    """Compute the features of all training images with a network from full training.

    Attributes:
        trained: The task that trains the network.
    """

    tag: ClassVar[str] = "FeaturesCell"
    trained: TrainFull

    @property
    def kind(self) -> str:
        """The network, which determines the time."""
        return f"features of {self.trained.protocol.network}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The network."""
        return (self.trained,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The images."""
        return {"images": self.trained.data.training_content}

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute and save the features.

        Args:
            workspace: Folders and device.

        Returns:
            The number of features of an image, and the environment.
        """
        network, parameters, buffers = self.trained.trained(workspace)
        train = self.trained.data.read().train.to(workspace.device)
        rows = features_of(network, parameters, train, buffers).float()
        write_tensors(workspace.folder(self) / _FEATURES, {"features": rows}, {"network": network.name})
        return {"features": rows.shape[1], "environment": environment(workspace.device)}

    def estimate(self, device: torch.device) -> float:
        """Time the features of a few images.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """
        train, compute = self._untrained(device)
        part = first_images(train, _TIMED_IMAGES)
        # As much memory as `run` needs for the features and their file: memory is estimated too.
        torch.ones(_COPIES, len(train), compute(part).shape[1])
        return seconds_of(lambda: compute(part), device) * len(train) / len(part)

    def features(self, workspace: Workspace) -> Tensor:
        """Read the features.

        Args:
            workspace: Where the task ran.

        Returns:
            Features `[N, D]` of the training images, float32 on the CPU.
        """
        tensors, _ = read_tensors(workspace.folder(self) / _FEATURES)
        return tensors["features"]

    def num_features(self) -> int:
        """Return the number of features of an image, without any training.

        Returns:
            D.
        """
        train, compute = self._untrained(torch.device("cpu"))
        return compute(first_images(train, 1)).shape[1]

    def _untrained(self, device: torch.device) -> tuple[ImageSet, Callable[[ImageSet], Tensor]]:
        """Return the training images, and the features of an untrained network."""
        network, protocol = self.trained.structure(), self.trained.protocol
        parameters = moved(network.draw(seeded_generator(protocol.seed, "timing")), device, torch.float32)
        train = self.trained.data.read().train.to(device)
        return train, partial(features_of, network, parameters)
