"""What selections rely on: networks trained on the full data set, and the features of its images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from datacondense.data.data_source import DataSource, identified
from datacondense.environment import environment
from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.evaluation.full_training import (
    NETWORK,
    FullTraining,
    TrainedNetwork,
    read_counts,
    read_network,
)
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import check_trainable
from datacondense.networks.builder import build_network
from datacondense.networks.features import features_of
from datacondense.networks.names import network_name
from datacondense.networks.network import Network
from datacondense.run_folder import RunFolder
from datacondense.tasks.store import Workspace
from datacondense.tasks.task import TRAINING, Task, images_of
from datacondense.tensor_files import read_tensors, write_tensors

_FEATURES = "features.safetensors"  # in the folder of a task


@dataclass(frozen=True, kw_only=True)
class TrainFull(Task):
    """Train one network on all training images and test it; interrupted training goes on after its last checkpoint.

    The result is the accuracy, 0 to 1; None if the data set has no test images. The protocol is that of a condensed
    set, with new orders and augmentations in each epoch.

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
    def label(self) -> str:
        """The network, which determines the time."""
        return f"train {network_name(self.protocol.network)} on the full data set"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or continue, and test."""
        splits = self.data.read()
        check_trainable(splits.train)
        training = FullTraining(splits.train.to(workspace.device), self.protocol, self.repeat)
        trained = training.run(self._folder(workspace))
        tested = None if splits.test is None else training.accuracy(trained, splits.test.to(workspace.device))
        return {"accuracy": tested, "environment": training.environment}

    @property
    def length(self) -> float:
        """Batches in all epochs."""
        return self.protocol.epochs * len(self.data.read().train) / self.protocol.batch_size

    def shortened(self, length: int) -> "TrainFull":
        """Train on a few batches."""
        few = replace(self.data, num_images=length * self.protocol.batch_size, content={})
        return replace(
            self, data=identified(few, needs_test=False), protocol=replace(self.protocol, epochs=1)
        )

    def trained(self, workspace: Workspace) -> TrainedNetwork:
        """Return the trained network, its tensors on the workspace's device."""
        return read_network(self._folder(workspace), self.structure(), workspace.device)

    def forgetting(self, workspace: Workspace) -> ForgettingCounts:
        """Return how often each training image was forgotten, on the CPU."""
        return read_counts(self._folder(workspace))

    def structure(self) -> Network:
        """Return the network to train, for the images of the data set."""
        images = self.data.read().train
        return build_network(self.protocol.network, images.image_shape, images.num_classes)

    def _folder(self, workspace: Workspace) -> RunFolder:
        return RunFolder(workspace.folder(self), NETWORK)


@dataclass(frozen=True, kw_only=True)
class ComputeFeatures(Task):
    """Compute the features of all training images with a network from full training.

    Attributes:
        data: The data set.
        trained: The task that trains the network.
    """

    tag: ClassVar[str] = "FeaturesCell"
    data: DataSource = images_of(*TRAINING)
    trained: TrainFull

    @property
    def label(self) -> str:
        """The network, which determines the time."""
        return f"features of {network_name(self.trained.protocol.network)}"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute and save the features."""
        network, parameters, buffers = self.trained.trained(workspace)
        train = self.data.read().train.to(workspace.device)
        rows = features_of(network, parameters, train, buffers).float()
        write_tensors(workspace.folder(self) / _FEATURES, {"features": rows}, {"network": network.name})
        return {"features": rows.shape[1], "environment": environment(workspace.device)}

    def features(self, workspace: Workspace) -> Tensor:
        """Return the features `[N, D]` of the training images, float32 on the CPU."""
        tensors, _ = read_tensors(workspace.folder(self) / _FEATURES)
        return tensors["features"]
