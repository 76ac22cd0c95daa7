"""The cells that choose real images: at random, or by what a network that is trained on all of them makes of each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from datacondense.environment import environment
from datacondense.image_set import ImageSet
from datacondense.networks.features import features_of
from datacondense.networks.network import moved
from datacondense.random import seeded_generator
from datacondense.selection.forgetting import NeverLearned, select_forgetting
from datacondense.selection.herding import herding_order, select_herding
from datacondense.selection.k_center import farthest_first, select_k_center
from datacondense.selection.random import select_random
from datacondense.studies.data_source import DataSource
from datacondense.studies.full_training import TrainFull
from datacondense.studies.memory import peak_memory
from datacondense.studies.task import Task, Workspace
from datacondense.studies.tasks import SetTask
from datacondense.studies.timing import first_images, seconds_of
from datacondense.tensor_files import read_tensors, write_tensors

Selection: TypeAlias = Literal["herding", "k-center"]

_TIMED_IMAGES = 500
_CPU = torch.device("cpu")  # where selections is done
_COPIES = 4  # of all features, while their file is written

_FEATURES = "features.safetensors"
_SELECTED = "selected.safetensors"  # the chosen images, in their cell's folder

_SELECTIONS: Mapping[Selection, Callable[[ImageSet, int, Tensor], ImageSet]] = {
    "herding": select_herding,
    "k-center": select_k_center,
}
_ORDERS: Mapping[Selection, Callable[[Tensor, int], Tensor]] = {
    "herding": herding_order,
    "k-center": farthest_first,
}


@dataclass(frozen=True, kw_only=True)
class ComputeFeatures:
    """Compute the features of all training images with a network that was trained on them.

    Attributes:
        trained: The cell that gives the network.
    """

    tag: ClassVar[str] = "FeaturesCell"
    trained: TrainFull

    @property
    def kind(self) -> str:
        """The network, which is what takes time."""
        return f"features of {self.trained.protocol.network}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The network."""
        return (self.trained,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Images."""
        return {"images": self.trained.data.training_content}

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Compute, and save the features.

        Args:
            place: Folders and device.

        Returns:
            The number of features of an image, and where they were computed.
        """
        network, parameters, buffers = self.trained.trained(place)
        train = self.trained.data.read().train.to(place.device)
        rows = features_of(network, parameters, train, buffers).float()
        write_tensors(place.folder(self) / _FEATURES, {"features": rows}, {"network": network.name})
        return {"features": rows.shape[1], "environment": environment(place.device)}

    def estimate(self, device: torch.device) -> float:
        """Time the features of a few images.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        train, compute = self._untrained(device)
        part = first_images(train, _TIMED_IMAGES)
        # As much memory as `run` takes for the features and their file: what an estimate takes is measured too.
        torch.ones(_COPIES, len(train), compute(part).shape[1])
        return seconds_of(lambda: compute(part), device) * len(train) / len(part)

    def features(self, place: Workspace) -> Tensor:
        """Read the result.

        Args:
            place: Where the cell ran.

        Returns:
            Features `[N, D]` of the training images, float32 on the CPU.
        """
        tensors, _ = read_tensors(place.folder(self) / _FEATURES)
        return tensors["features"]

    def num_features(self) -> int:
        """Count the features of an image, without any training.

        Returns:
            D.
        """
        train, compute = self._untrained(torch.device("cpu"))
        return compute(first_images(train, 1)).shape[1]

    def _untrained(self, device: torch.device) -> tuple[ImageSet, Callable[[ImageSet], Tensor]]:
        """Give the training images, and the features of a network whose parameters are fresh."""
        network, protocol = self.trained.structure(), self.trained.protocol
        parameters = moved(network.draw(seeded_generator(protocol.seed, "timing")), device, torch.float32)
        train = self.trained.data.read().train.to(device)
        return train, partial(features_of, network, parameters)


class _SelectionTask(SetTask, Protocol):
    """A cell that chooses from the training images."""

    def select(self, train: ImageSet, place: Workspace) -> ImageSet:
        """Choose."""


class _Selecting:
    """What such cells share: the choice is measured, and saved."""

    @property
    def network(self) -> str | None:
        """None: it was not condensed."""
        return None

    def run(self: _SelectionTask, place: Workspace) -> Mapping[str, Any]:
        """Choose, and save the set.

        Args:
            place: Folders and device.

        Returns:
            The fingerprint, and the seconds and memory (in MiB) of the choice.
        """
        train = self.data.read().train
        with peak_memory(_CPU) as memory:
            began = time.perf_counter()
            selected = self.select(train, place)
            seconds = time.perf_counter() - began
        selected.save(place.folder(self) / _SELECTED)
        return {
            "fingerprint": selected.fingerprint,
            "condensing_seconds": seconds,
            "memory": memory.as_dict(),
        }

    def image_set(self: SetTask, place: Workspace) -> ImageSet:
        """Read the chosen images.

        Args:
            place: Where the cell ran.

        Returns:
            The set.
        """
        return ImageSet.load(place.folder(self) / _SELECTED)


@dataclass(frozen=True, kw_only=True)
class SelectRandom(_Selecting):
    """Choose real images at random.

    Attributes:
        data: The data set.
        ipc: Images per class.
        seed: Seed of the choice.
    """

    tag: ClassVar[str] = "RandomCell"
    data: DataSource
    ipc: int
    seed: int

    @property
    def kind(self) -> str:
        """What it does."""
        return "choose at random"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Number, seed and images."""
        return {"ipc": self.ipc, "seed": self.seed, "images": self.data.training_content}

    def select(self, train: ImageSet, place: Workspace) -> ImageSet:
        """Choose by the seed alone.

        Args:
            train: The training images.
            place: Not used.

        Returns:
            The chosen images.
        """
        return select_random(train, self.ipc, self.seed)

    def estimate(self, device: torch.device) -> float:
        """Choose once.

        Args:
            device: Where to compute.

        Returns:
            Seconds.
        """
        train = self.data.read().train
        return seconds_of(lambda: select_random(train, self.ipc, self.seed), device)


@dataclass(frozen=True, kw_only=True)
class SelectByFeatures(_Selecting):
    """Choose real images by the features of a network that was trained on all of them.

    Attributes:
        method: "herding" or "k-center".
        ipc: Images per class.
        features: The cell that gives the features.
    """

    tag: ClassVar[str] = "ChosenCell"
    method: Selection
    ipc: int
    features: ComputeFeatures

    @property
    def kind(self) -> str:
        """What it does."""
        return f"choose by {self.method} ipc {self.ipc}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The features."""
        return (self.features,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Method, number and images."""
        return {"method": self.method, "ipc": self.ipc, "images": self.data.training_content}

    @property
    def data(self) -> DataSource:
        """The data set."""
        return self.features.trained.data

    def select(self, train: ImageSet, place: Workspace) -> ImageSet:
        """Choose by the features.

        Args:
            train: The training images.
            place: Where the features are.

        Returns:
            The chosen images.
        """
        return _SELECTIONS[self.method](train, self.ipc, self.features.features(place))

    def estimate(self, device: torch.device) -> float:
        """Choose from the largest class, by random features.

        Args:
            device: Where networks compute; selections is done on the CPU.

        Returns:
            Seconds that `run` would take.
        """
        train = self.data.read().train
        # Of all images, though one class is timed: the memory that this takes is measured too.
        features = torch.rand(
            len(train), self.features.num_features(), generator=seeded_generator(0, "timing")
        )
        largest = max(train.class_indices, key=len)

        def choose() -> Tensor:
            return _ORDERS[self.method](features[largest], self.ipc)

        return seconds_of(choose, _CPU) * train.num_classes


@dataclass(frozen=True, kw_only=True)
class SelectForgetting(_Selecting):
    """Choose the real images that a network forgot most often while it was trained on all of them.

    Attributes:
        ipc: Images per class.
        trained: The cell that trains the network.
        never_learned: Where images come that it never got right, as in `ForgettingCounts.scores`.
    """

    tag: ClassVar[str] = "ForgettingCell"
    ipc: int
    trained: TrainFull
    never_learned: NeverLearned = "first"

    @property
    def kind(self) -> str:
        """What it does."""
        return f"choose by forgetting ipc {self.ipc}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The network."""
        return (self.trained,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Number and images, and what is other than in the paper."""
        own = {} if self.never_learned == "first" else {"never_learned": self.never_learned}
        return {"ipc": self.ipc, "images": self.data.training_content, **own}

    @property
    def data(self) -> DataSource:
        """The data set."""
        return self.trained.data

    def select(self, train: ImageSet, place: Workspace) -> ImageSet:
        """Choose by the counts of the training.

        Args:
            train: The training images.
            place: Where the counts are.

        Returns:
            The chosen images.
        """
        scores = self.trained.forgetting(place).scores(self.never_learned)
        selected = select_forgetting(train, self.ipc, scores)
        settings = {**selected.provenance["settings"], "never_learned": self.never_learned}
        return replace(selected, provenance={**selected.provenance, "settings": settings})

    def estimate(self, device: torch.device) -> float:
        """Choose once, by counts that are all equal.

        Args:
            device: Where networks compute; selections is done on the CPU.

        Returns:
            Seconds that `run` would take.
        """
        train = self.data.read().train
        scores = torch.zeros(len(train), dtype=torch.int64)
        return seconds_of(lambda: select_forgetting(train, self.ipc, scores), _CPU)
