"""The task that trains a network on the full training set: the upper bound, and what selections rely on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.evaluation.full_training import (
    NETWORK,
    FullTraining,
    TrainedNetwork,
    read_counts,
    read_network,
)
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network
from datacondense.run_folder import RunFolder
from datacondense.studies.data_source import DataSource
from datacondense.studies.task import Task, Workspace, plain_settings
from datacondense.studies.timing import first_images, seconds_of

_WARMING_BATCHES = 2
_TIMED_BATCHES = 4
_TIMED_IMAGES = 500  # of a pass without training


@dataclass(frozen=True, kw_only=True)
class TrainFull:
    """Train one network on all training images and test it; interrupted training continues after its last checkpoint.

    The protocol is that of a condensed set (see `EvaluationConfig`), with new orders and augmentations in each epoch.

    Attributes:
        data: The data set.
        protocol: The resolved protocol; its `repeats` is ignored.
        repeat: Number of the network, from 0; with the protocol's seed it determines all random numbers.
    """

    tag: ClassVar[str] = "WholeCell"
    data: DataSource
    protocol: ResolvedProtocol
    repeat: int

    @property
    def kind(self) -> str:
        """The network, which determines the time."""
        return f"train {self.protocol.network} on the full data set"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Protocol, number of the network, and images."""
        protocol = plain_settings(self.protocol, without="repeats")
        return {"protocol": protocol, "repeat": self.repeat, "images": dict(self.data.content)}

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or continue, and test.

        Args:
            workspace: Folders and device.

        Returns:
            The accuracy, 0 to 1; None if the data set has no test images.
        """
        training, test = self._prepared(workspace.device)
        trained = training.run(self._folder(workspace))
        tested = None if test is None else training.accuracy(trained, test)
        return {"accuracy": tested, "environment": training.environment}

    def estimate(self, device: torch.device) -> float:
        """Time a few batches, and the test on a few images.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """
        training, test = self._prepared(device)
        number, size, epochs = len(self.data.read().train), self.protocol.batch_size, self.protocol.epochs
        warming, timed = (min(number, batches * size) for batches in (_WARMING_BATCHES, _TIMED_BATCHES))
        start = training.start()
        training.trained(start, epochs=1, num_images=warming)
        one = seconds_of(lambda: training.trained(start, epochs=1, num_images=timed), device)
        seconds = epochs * one * number / timed
        if test is None:
            return seconds
        part = first_images(test, _TIMED_IMAGES)
        training.accuracy(start, part)
        scored = seconds_of(lambda: training.accuracy(start, part), device)
        return seconds + scored * len(test) / len(part)

    def trained(self, workspace: Workspace) -> TrainedNetwork:
        """Read the trained network.

        Args:
            workspace: Where the task ran.

        Returns:
            The network, its tensors on the workspace's device.
        """
        return read_network(self._folder(workspace), self.structure(), workspace.device)

    def forgetting(self, workspace: Workspace) -> ForgettingCounts:
        """Read how often each training image was forgotten.

        Args:
            workspace: Where the task ran.

        Returns:
            The counts, on the CPU.
        """
        return read_counts(self._folder(workspace))

    def structure(self) -> Network:
        """Build the network to train.

        Returns:
            The network for the images of the data set.
        """
        images = self.data.read().train
        return build_network(self.protocol.network, images.image_shape, images.num_classes)

    def _folder(self, workspace: Workspace) -> RunFolder:
        return RunFolder(workspace.folder(self), NETWORK)

    def _prepared(self, device: torch.device) -> tuple[FullTraining, ImageSet | None]:
        """Move the images to the device; return the test images too, None if there are none."""
        splits = self.data.read()
        training = FullTraining(splits.train.to(device), self.protocol, self.repeat)
        return training, None if splits.test is None else splits.test.to(device)
