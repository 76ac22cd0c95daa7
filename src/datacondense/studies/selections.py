"""Coreset selection as tasks: at random, by features, or by forgetting, the latter two after full training."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from datacondense.evaluation.forgetting_counts import NeverLearned
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator
from datacondense.selection.forgetting import select_forgetting
from datacondense.selection.herding import herding_order, select_herding
from datacondense.selection.k_center import farthest_first, select_k_center
from datacondense.selection.random import select_random
from datacondense.studies.data_source import DataSource
from datacondense.studies.features import ComputeFeatures
from datacondense.studies.full_training import TrainFull
from datacondense.studies.memory import peak_memory
from datacondense.studies.task import Task, Workspace
from datacondense.studies.tasks import SetTask
from datacondense.studies.timing import seconds_of

Selection: TypeAlias = Literal["herding", "k-center"]

_CPU = torch.device("cpu")  # selections run here

_SELECTED = "selected.safetensors"  # the selected images, in the task's folder

_SELECTIONS: Mapping[Selection, Callable[[ImageSet, int, Tensor], ImageSet]] = {
    "herding": select_herding,
    "k-center": select_k_center,
}
_ORDERS: Mapping[Selection, Callable[[Tensor, int], Tensor]] = {
    "herding": herding_order,
    "k-center": farthest_first,
}


class _SelectionTask(SetTask, Protocol):
    """A task that selects from the training images."""

    def select(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select images."""


class _Selecting:
    """What all selections share: the selection is measured and saved."""

    @property
    def network(self) -> str | None:
        """None: the set is not condensed."""
        return None

    def run(self: _SelectionTask, workspace: Workspace) -> Mapping[str, Any]:
        """Select images and save them.

        Args:
            workspace: Folders and device.

        Returns:
            The fingerprint, and the seconds and memory (in MiB) of the selection.
        """
        train = self.data.read().train
        with peak_memory(_CPU) as memory:
            began = time.perf_counter()
            selected = self.select(train, workspace)
            seconds = time.perf_counter() - began
        selected.save(workspace.folder(self) / _SELECTED)
        return {
            "fingerprint": selected.fingerprint,
            "condensing_seconds": seconds,
            "memory": memory.as_dict(),
        }

    def image_set(self: SetTask, workspace: Workspace) -> ImageSet:
        """Read the selected images.

        Args:
            workspace: Where the task ran.

        Returns:
            The set.
        """
        return ImageSet.load(workspace.folder(self) / _SELECTED)


@dataclass(frozen=True, kw_only=True)
class SelectRandom(_Selecting):
    """Select real images at random.

    Attributes:
        data: The data set.
        ipc: Images per class.
        seed: Seed of the selection.
    """

    tag: ClassVar[str] = "RandomCell"
    data: DataSource
    ipc: int
    seed: int

    @property
    def kind(self) -> str:
        """What it does."""
        return "select at random"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Number, seed and images."""
        return {"ipc": self.ipc, "seed": self.seed, "images": self.data.training_content}

    def select(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select by the seed alone.

        Args:
            train: The training images.
            workspace: Not used.

        Returns:
            The selected images.
        """
        return select_random(train, self.ipc, self.seed)

    def estimate(self, device: torch.device) -> float:
        """Time one selection.

        Args:
            device: The device to compute on.

        Returns:
            Seconds.
        """
        train = self.data.read().train
        return seconds_of(lambda: select_random(train, self.ipc, self.seed), device)


@dataclass(frozen=True, kw_only=True)
class SelectByFeatures(_Selecting):
    """Select real images by the features of a network from full training.

    Attributes:
        method: "herding" or "k-center".
        ipc: Images per class.
        features: The task that computes the features.
    """

    tag: ClassVar[str] = "ChosenCell"
    method: Selection
    ipc: int
    features: ComputeFeatures

    @property
    def kind(self) -> str:
        """What it does."""
        return f"select by {self.method} ipc {self.ipc}"

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

    def select(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select by the features.

        Args:
            train: The training images.
            workspace: Where the features are.

        Returns:
            The selected images.
        """
        return _SELECTIONS[self.method](train, self.ipc, self.features.features(workspace))

    def estimate(self, device: torch.device) -> float:
        """Time a selection from the largest class, by random features.

        Args:
            device: Not used; selections run on the CPU.

        Returns:
            Seconds that `run` would take.
        """
        train = self.data.read().train
        # Of all images, though only one class is timed: memory is estimated too.
        features = torch.rand(
            len(train), self.features.num_features(), generator=seeded_generator(0, "timing")
        )
        largest = max(train.class_indices, key=len)

        def order() -> Tensor:
            return _ORDERS[self.method](features[largest], self.ipc)

        return seconds_of(order, _CPU) * train.num_classes


@dataclass(frozen=True, kw_only=True)
class SelectForgetting(_Selecting):
    """Select the real images that a network forgot most often in full training.

    Attributes:
        ipc: Images per class.
        trained: The task that trains the network.
        never_learned: Whether images that it never got right come first or last, as in `ForgettingCounts.scores`.
    """

    tag: ClassVar[str] = "ForgettingCell"
    ipc: int
    trained: TrainFull
    never_learned: NeverLearned = "first"

    @property
    def kind(self) -> str:
        """What it does."""
        return f"select by forgetting ipc {self.ipc}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The network."""
        return (self.trained,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Number and images, and what differs from the paper."""
        own = {} if self.never_learned == "first" else {"never_learned": self.never_learned}
        return {"ipc": self.ipc, "images": self.data.training_content, **own}

    @property
    def data(self) -> DataSource:
        """The data set."""
        return self.trained.data

    def select(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select by the counts of the training.

        Args:
            train: The training images.
            workspace: Where the counts are.

        Returns:
            The selected images.
        """
        scores = self.trained.forgetting(workspace).scores(self.never_learned)
        selected = select_forgetting(train, self.ipc, scores)
        settings = {**selected.provenance["settings"], "never_learned": self.never_learned}
        return replace(selected, provenance={**selected.provenance, "settings": settings})

    def estimate(self, device: torch.device) -> float:
        """Time one selection, by counts that are all equal.

        Args:
            device: Not used; selections run on the CPU.

        Returns:
            Seconds that `run` would take.
        """
        train = self.data.read().train
        scores = torch.zeros(len(train), dtype=torch.int64)
        return seconds_of(lambda: select_forgetting(train, self.ipc, scores), _CPU)
