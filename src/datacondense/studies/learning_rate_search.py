"""Cells that choose a learning rate on held-out images, and condense with what was chosen, perhaps for a given time.

A transform or a distance changes the size of the pixel gradient, so arms with one learning rate for all are compared
by how well it happens to suit them. Here every arm chooses from the same list, by the accuracy on images that were held
out of the training images: never on the test images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, ClassVar

import torch

from datacondense.image_set import ImageSet
from datacondense.studies.data_source import DataSource
from datacondense.studies.store import read_result
from datacondense.studies.task import Task, Workspace
from datacondense.studies.tasks import Condense, Evaluate

_ENOUGH_ITERATIONS = 10**9  # where time is what ends a run


@dataclass(frozen=True, kw_only=True)
class SearchLearningRate:
    """Choose the image learning rate whose sets are best on held-out images.

    Attributes:
        scores: For each learning rate the networks that were trained on its sets, as many for each.
    """

    tag: ClassVar[str] = "ChoiceCell"
    scores: Mapping[float, Sequence[Evaluate]]

    @property
    def kind(self) -> str:
        """What it does."""
        return "choose a learning rate"

    @property
    def inputs(self) -> Sequence[Task]:
        """All scores, learning rate by learning rate."""
        return [task for tasks in self.scores.values() for task in tasks]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The learning rates in the order of the inputs."""
        return {"image_lrs": [float(rate) for rate in self.scores]}

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Compare mean accuracies; among equal ones the first in the list is taken.

        Args:
            place: Folders.

        Returns:
            The chosen rate, and the accuracies on held-out images of each rate.
        """
        accuracies = {
            rate: [read_result(place.folder(task))["accuracy"] for task in tasks]
            for rate, tasks in self.scores.items()
        }
        selected = max(accuracies, key=lambda rate: fmean(accuracies[rate]))
        return {
            "image_lr": float(selected),
            "held_out": [[float(rate), found] for rate, found in accuracies.items()],
        }

    def estimate(self, device: torch.device) -> float:
        """Give next to nothing.

        Args:
            device: Not used.

        Returns:
            Seconds.
        """
        return 0.0


@dataclass(frozen=True, kw_only=True)
class CondenseSearched:
    """Learn a set with the learning rate that was chosen, or for a given time, or both.

    Attributes:
        base: The same with the default learning rate and a number of draws.
        search: The choice; where None, the learning rate stays.
        time_budget_from: Another set, whose condensing seconds this one may spend, in the place of a number of outer draws.
            Both should run on the same machine with the same work beside them; the record says how many draws it were.
    """

    tag: ClassVar[str] = "TunedCell"
    base: Condense
    search: SearchLearningRate | None = None
    time_budget_from: "Condense | CondenseSearched | None" = None

    @property
    def kind(self) -> str:
        """As without the choice."""
        limited = "" if self.time_budget_from is None else ", for as long as plain matching takes"
        return f"{self.base.kind}{limited}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The choice, and the set that it may take as long as."""
        return [task for task in (self.choice, self.time_budget_from) if task is not None]

    @property
    def settings(self) -> Mapping[str, Any]:
        """As without the choice; its learning rate is replaced by the chosen one, and its draws by the time."""
        limited = {} if self.time_budget_from is None else {"iterations": "equal seconds"}
        return {**self.base.settings, **limited}

    @property
    def data(self) -> DataSource:
        """The whole training images."""
        return self.base.data

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.base.ipc

    @property
    def network(self) -> str | None:
        """The network that is matched."""
        return self.base.network

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Condense, or go on.

        Args:
            place: Folders and device.

        Returns:
            As for `Condense`, and the learning rate.
        """
        task, limit = self.base, None
        if self.choice is not None:
            rate = read_result(place.folder(self.choice))["image_lr"]
            task = replace(task, method=replace(task.method, image_lr=rate))
        if self.time_budget_from is not None:
            task = replace(task, iterations=_ENOUGH_ITERATIONS)
            limit = f"{read_result(place.folder(self.time_budget_from))['condensing_seconds']:.6f}s"
        found = task.condense_into(place.folder(self), place.device, time_limit=limit)
        return {**found, "image_lr": task.method.image_lr}

    def estimate(self, device: torch.device) -> float:
        """Time a few matching steps, of the other set where this one takes as long.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        return (self.time_budget_from or self.base).estimate(device)

    def image_set(self, place: Workspace) -> ImageSet:
        """Read the condensed set.

        Args:
            place: Where the cell ran.

        Returns:
            The set.
        """
        return self.base.read_from(place.folder(self))
