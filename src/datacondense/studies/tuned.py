"""Cells that choose a learning rate on held-out images, and condense with what was chosen, perhaps for a given time.

A transform or a distance changes the size of the pixel gradient, so arms with one learning rate for all are compared
by how well it happens to suit them. Here every arm chooses from the same list, by the accuracy on images that were held
out of the training images: never on the test images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from datacondense.image_set import ImageSet
from datacondense.studies.cell import Cell, Place
from datacondense.studies.cells import CondenseCell, EvaluateCell
from datacondense.studies.data_source import DataSource
from datacondense.studies.store import read_result

_ENOUGH_DRAWS = 10**9  # where time is what ends a run


@dataclass(frozen=True, kw_only=True)
class ChoiceCell:
    """Choose the image learning rate whose sets are best on held-out images.

    Attributes:
        scores: For each learning rate the networks that were trained on its sets, as many for each.
    """

    scores: Mapping[float, Sequence[EvaluateCell]]

    @property
    def kind(self) -> str:
        """What it does."""
        return "choose a learning rate"

    @property
    def inputs(self) -> Sequence[Cell]:
        """All scores, learning rate by learning rate."""
        return [cell for cells in self.scores.values() for cell in cells]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The learning rates in the order of the inputs."""
        return {"image_lrs": [float(rate) for rate in self.scores]}

    def run(self, place: Place) -> Mapping[str, Any]:
        """Compare mean accuracies; among equal ones the first in the list is taken.

        Args:
            place: Folders.

        Returns:
            The chosen rate, and the accuracies on held-out images of each rate.
        """
        accuracies = {
            rate: [read_result(place.folder(cell))["accuracy"] for cell in cells]
            for rate, cells in self.scores.items()
        }
        chosen = max(accuracies, key=lambda rate: fmean(accuracies[rate]))
        return {
            "image_lr": float(chosen),
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
class TunedCell:
    """Learn a set with the learning rate that was chosen, or for a given time, or both.

    Attributes:
        untuned: The same with the default learning rate and a number of draws.
        choice: The choice; where None, the learning rate stays.
        as_long_as: Another set, whose condensing seconds this one may spend, in the place of a number of outer draws.
            Both should run on the same machine with the same work beside them; the record says how many draws it were.
    """

    untuned: CondenseCell
    choice: ChoiceCell | None = None
    as_long_as: "CondenseCell | TunedCell | None" = None

    @property
    def kind(self) -> str:
        """As without the choice."""
        limited = "" if self.as_long_as is None else ", for as long as plain matching takes"
        return f"{self.untuned.kind}{limited}"

    @property
    def inputs(self) -> Sequence[Cell]:
        """The choice, and the set that it may take as long as."""
        return [cell for cell in (self.choice, self.as_long_as) if cell is not None]

    @property
    def settings(self) -> Mapping[str, Any]:
        """As without the choice; its learning rate is replaced by the chosen one, and its draws by the time."""
        limited = {} if self.as_long_as is None else {"draws": "equal seconds"}
        return {**self.untuned.settings, **limited}

    @property
    def data(self) -> DataSource:
        """The whole training images."""
        return self.untuned.data

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.untuned.ipc

    @property
    def network(self) -> str | None:
        """The network that is matched."""
        return self.untuned.network

    def run(self, place: Place) -> Mapping[str, Any]:
        """Condense, or go on.

        Args:
            place: Folders and device.

        Returns:
            As for `CondenseCell`, and the learning rate.
        """
        cell, limit = self.untuned, None
        if self.choice is not None:
            rate = read_result(place.folder(self.choice))["image_lr"]
            cell = replace(cell, method=replace(cell.method, image_lr=rate))
        if self.as_long_as is not None:
            cell = replace(cell, draws=_ENOUGH_DRAWS)
            limit = f"{read_result(place.folder(self.as_long_as))['condensing_seconds']:.6f}s"
        found = cell.condense_into(place.folder(self), place.device, time_limit=limit)
        return {**found, "image_lr": cell.method.image_lr}

    def estimate(self, device: torch.device) -> float:
        """Time a few matching steps, of the other set where this one takes as long.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        return (self.as_long_as or self.untuned).estimate(device)

    def image_set(self, place: Place) -> ImageSet:
        """Read the condensed set.

        Args:
            place: Where the cell ran.

        Returns:
            The set.
        """
        return self.untuned.read_from(place.folder(self))
