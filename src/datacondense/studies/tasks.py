"""The cells that studies share: condense a set, and score one with one network."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from datacondense.condensation.config import MethodConfig, RunConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.run_folder import ResumeError, RunFolder
from datacondense.environment import environment
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import backend, evaluate_one
from datacondense.image_set import ImageSet
from datacondense.networks.names import canonical_name, parse_name
from datacondense.selection.random import select_random
from datacondense.studies.data_source import DataSource
from datacondense.studies.memory import peak_memory
from datacondense.studies.task import Task, Workspace, plain_settings
from datacondense.studies.timing import seconds_of

if TYPE_CHECKING:
    from pathlib import Path

_TIMED_STEPS = 4  # after one to warm up
_TIMED_EPOCHS = 12


class _EnoughTimedError(Exception):
    """Ends a run that is timed only."""


class SetTask(Task, Protocol):
    """A cell whose result is an image set."""

    @property
    def data(self) -> DataSource:
        """The data set that it was made from."""

    @property
    def ipc(self) -> int:
        """Images per class."""

    @property
    def network(self) -> str | None:
        """Name of the network that it was condensed with; None for other sets."""

    def image_set(self, place: Workspace) -> ImageSet:
        """Read the result.

        Args:
            place: Where the cell ran.

        Returns:
            The set.
        """


def method_settings(method: MethodConfig, dataset: str) -> dict[str, Any]:
    """Write a method as plain JSON values, in which equal methods are the same text.

    Args:
        method: Its settings.
        dataset: Name of the data set.

    Returns:
        The method's name and its settings, without None.
    """
    method = replace(method, network=canonical_name(parse_name(method.network))).resolved(dataset)
    return {"name": method.name, **plain_settings(method)}


@dataclass(frozen=True, kw_only=True)
class Condense:
    """Learn a set; a run that was stopped continues from its checkpoint.

    Attributes:
        data: The data set.
        method: Settings of the method, without None.
        seed: Seed of everything that is drawn.
        iterations: Outer draws.
    """

    tag: ClassVar[str] = "CondenseCell"
    data: DataSource
    method: MethodConfig
    seed: int
    iterations: int

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        steps = self.method.steps_per_iteration
        of_each = "" if steps == 1 else f" of {steps} steps"
        return f"condense with {self.method.kind}: {self.iterations} draws{of_each}"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Method, seed, draws and images."""
        return {
            "method": method_settings(self.method, self.data.name),
            "seed": self.seed,
            "iterations": self.iterations,
            "images": self.data.training_content,
        }

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.method.ipc

    @property
    def network(self) -> str | None:
        """The network that is matched."""
        return self.method.network

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Condense, or go on.

        Args:
            place: Folders and device.

        Returns:
            Fingerprint, last loss, outer draws, the seconds of all parts of the run, and the memory of the last.
        """
        return self.condense_into(place.folder(self), place.device)

    def condense_into(
        self, folder: "Path", device: torch.device, *, time_limit: str | None = None
    ) -> dict[str, Any]:
        """Condense in any folder, or go on there.

        Args:
            folder: The run's folder.
            device: Where to compute.
            time_limit: As in `RunConfig`.

        Returns:
            As `run`.
        """
        call = partial(
            self._condensed, self.data.read().train, device, directory=folder, time_limit=time_limit
        )
        with peak_memory(device) as memory:
            try:
                condensed = call(resume=True)
            except ResumeError:
                # Damaged, or begun with another number of threads or another version: its end would mix the two.
                condensed = call(force=True)
        last = RunFolder(folder).metrics()[-1]
        return {
            "fingerprint": condensed.fingerprint,
            "loss": last["loss"],
            "iterations": condensed.provenance["iterations_done"],
            "condensing_seconds": last["seconds"],
            "memory": memory.as_dict(),
            "environment": condensed.provenance["environment"],
        }

    def estimate(self, device: torch.device) -> float:
        """Time a few matching steps, with the network's training where a draw has several.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        ends: list[float] = []

        def note(progress: Progress) -> None:
            ends.append(time.perf_counter())
            if len(ends) > _TIMED_STEPS:
                raise _EnoughTimedError

        with suppress(_EnoughTimedError):
            replace(self, iterations=_TIMED_STEPS + 1)._condensed(
                self.data.read().train, device, observer=note
            )
        return (ends[-1] - ends[0]) / (len(ends) - 1) * self.method.steps_per_iteration * self.iterations

    def image_set(self, place: Workspace) -> ImageSet:
        """Read the condensed set.

        Args:
            place: Where the cell ran.

        Returns:
            The set.
        """
        return self.read_from(place.folder(self))

    @staticmethod
    def read_from(folder: "Path") -> ImageSet:
        """Read the condensed set of any folder.

        Args:
            folder: The run's folder.

        Returns:
            The set.
        """
        return ImageSet.load(RunFolder(folder).result)

    def _condensed(
        self,
        train: ImageSet,
        device: torch.device,
        *,
        directory: "Path | None" = None,
        resume: bool = False,
        force: bool = False,
        time_limit: str | None = None,
        observer: Callable[[Progress], None] | None = None,
    ) -> ImageSet:
        """Call the loop."""
        return condense(
            train,
            self.method,
            RunConfig(seed=self.seed, iterations=self.iterations, time_limit=time_limit),
            directory=directory,
            resume=resume,
            force=force,
            device=device,
            observer=observer,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Train one network on a set and measure it.

    Attributes:
        source: The cell that gives the set.
        protocol: The protocol, without None; its `repeats` means nothing here.
        repeat: Number of the network, from 0, as in `evaluate_one`.
    """

    tag: ClassVar[str] = "EvaluateCell"
    source: SetTask
    protocol: EvaluationConfig
    repeat: int

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        changed = "" if self.protocol.augmentation == "none" else f", {self.protocol.augmentation}"
        return (
            f"train {self.protocol.network}: {self.protocol.epochs} epochs of ipc {self.source.ipc}{changed}"
        )

    @property
    def inputs(self) -> Sequence[Task]:
        """The set."""
        return (self.source,)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Protocol, number of the network, and the images to be scored on."""
        protocol = plain_settings(self.protocol, without="repeats")
        return {
            "protocol": protocol,
            "repeat": self.repeat,
            "images": {"test": self.source.data.content["test"]},
        }

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Train and measure.

        Args:
            place: Folders and device.

        Returns:
            The accuracy, 0 to 1.
        """
        images, test = self.source.image_set(place), self.source.data.read().test
        assert test is not None
        assert self.protocol.epochs is not None
        return {
            "accuracy": self._accuracy(images, test, self.protocol.epochs, place.device),
            "environment": {
                **environment(place.device),
                **backend(images, self.protocol, place.device)._asdict(),
            },
        }

    def estimate(self, device: torch.device) -> float:
        """Time a few epochs on real images, and the test.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        splits = self.source.data.read()
        assert splits.test is not None
        assert self.protocol.epochs is not None
        images = select_random(splits.train, self.source.ipc, 0)
        seconds = [
            seconds_of(partial(self._accuracy, images, splits.test, epochs, device), device)
            for epochs in (2, 2, 2 + _TIMED_EPOCHS)  # the first run warms up
        ]
        epoch = (seconds[2] - seconds[1]) / _TIMED_EPOCHS
        return max(seconds[1], seconds[1] + (self.protocol.epochs - 2) * epoch)

    def _accuracy(self, images: ImageSet, test: ImageSet, epochs: int, device: torch.device) -> float:
        """Train for a number of epochs, and measure."""
        return evaluate_one(images, test, replace(self.protocol, epochs=epochs), self.repeat, device=device)
