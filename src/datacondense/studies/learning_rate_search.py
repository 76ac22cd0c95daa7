"""Learning-rate search on held-out images, and condensation with its result or within a time budget.

A transform or a distance changes the size of the pixel gradient, so a comparison at one learning rate for all variants
measures how well that rate suits each of them. Here each variant searches the same list of rates, by the accuracy on
held-out training images, never on the test images.
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

_UNLIMITED_ITERATIONS = 10**9  # the time limit ends the run


@dataclass(frozen=True, kw_only=True)
class SearchLearningRate:
    """Find the image learning rate whose sets score best on held-out images.

    Attributes:
        scores: For each learning rate the scores of its sets, equally many for each.
    """

    tag: ClassVar[str] = "ChoiceCell"
    scores: Mapping[float, Sequence[Evaluate]]

    @property
    def kind(self) -> str:
        """What it does."""
        return "search the learning rate"

    @property
    def inputs(self) -> Sequence[Task]:
        """All scores, learning rate by learning rate."""
        return [task for tasks in self.scores.values() for task in tasks]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The learning rates, in the order of the inputs."""
        return {"image_lrs": [float(rate) for rate in self.scores]}

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compare mean accuracies; of equal ones the first in the list wins.

        Args:
            workspace: Folders.

        Returns:
            The best rate, and the accuracies of each rate on held-out images.
        """
        accuracies = {
            rate: [read_result(workspace.folder(task))["accuracy"] for task in tasks]
            for rate, tasks in self.scores.items()
        }
        best = max(accuracies, key=lambda rate: fmean(accuracies[rate]))
        return {
            "image_lr": float(best),
            "held_out": [[float(rate), found] for rate, found in accuracies.items()],
        }

    def estimate(self, device: torch.device) -> float:
        """Return zero: all work is in the inputs.

        Args:
            device: Not used.

        Returns:
            Seconds.
        """
        return 0.0


@dataclass(frozen=True, kw_only=True)
class CondenseAdapted:
    """Condense with a learning rate that a search found, within the time that another set took, or both.

    Attributes:
        base: The same with the default learning rate and a number of iterations.
        search: The learning-rate search; None keeps the learning rate.
        time_budget_from: Another set, whose condensing seconds this one may spend instead of a number of iterations.
            Both should run on the same machine under the same load; the record has the number of iterations.
    """

    tag: ClassVar[str] = "TunedCell"
    base: Condense
    search: SearchLearningRate | None = None
    time_budget_from: "Condense | CondenseAdapted | None" = None

    @property
    def kind(self) -> str:
        """That of the base, and whether time limits it."""
        limited = "" if self.time_budget_from is None else ", in the time of plain matching"
        return f"{self.base.kind}{limited}"

    @property
    def inputs(self) -> Sequence[Task]:
        """The search, and the set that gives the time budget."""
        return [task for task in (self.search, self.time_budget_from) if task is not None]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the base; a time budget replaces the number of iterations, and the search is an input."""
        limited = {} if self.time_budget_from is None else {"iterations": "equal seconds"}
        return {**self.base.settings, **limited}

    @property
    def data(self) -> DataSource:
        """The full training images."""
        return self.base.data

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.base.ipc

    @property
    def network(self) -> str | None:
        """The network whose gradients are matched."""
        return self.base.network

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Condense, or continue.

        Args:
            workspace: Folders and device.

        Returns:
            As `Condense.run`, and the learning rate.
        """
        task, limit = self.base, None
        if self.search is not None:
            rate = read_result(workspace.folder(self.search))["image_lr"]
            task = replace(task, method=replace(task.method, image_lr=rate))
        if self.time_budget_from is not None:
            task = replace(task, iterations=_UNLIMITED_ITERATIONS)
            limit = f"{read_result(workspace.folder(self.time_budget_from))['condensing_seconds']:.6f}s"
        found = task.condense_into(workspace.folder(self), workspace.device, time_limit=limit)
        return {**found, "image_lr": task.method.image_lr}

    def estimate(self, device: torch.device) -> float:
        """Time a few matching steps, those of the other set if it gives the time budget.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """
        return (self.time_budget_from or self.base).estimate(device)

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Read the condensed set.

        Args:
            workspace: Where the task ran.

        Returns:
            The set.
        """
        return self.base.read_from(workspace.folder(self))
