"""The tasks that studies share: condense a set, and score a set with one network."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from datacondense.condensation.loop import Progress, RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.environment import environment
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.evaluation.scoring import backend, evaluate_one
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet
from datacondense.networks.names import network_name
from datacondense.run_folder import ResumeError, RunFolder
from datacondense.selection.random import select_random
from datacondense.studies.data_source import DataSource
from datacondense.studies.memory import peak_memory
from datacondense.studies.task import Task, Workspace, plain_settings
from datacondense.studies.timing import seconds_of

_TIMED_STEPS = 4  # after one warm-up step
_TIMED_EPOCHS = 12


class _EnoughTimedError(Exception):
    """Ends a run that is only timed."""


class SetTask(Task, Protocol):
    """A task whose result is an image set."""

    @property
    def data(self) -> DataSource:
        """The data set that the image set comes from."""

    @property
    def ipc(self) -> int:
        """Images per class."""

    @property
    def network(self) -> str | None:
        """Name of the network that the set was condensed with; None for sets of real images."""

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Read the result.

        Args:
            workspace: Where the task ran.

        Returns:
            The set.
        """


def method_settings(method: MethodConfig, dataset: str) -> dict[str, Any]:
    """Return a method as plain JSON values that are the same text for equal methods.

    Args:
        method: Its settings.
        dataset: Name of the data set.

    Returns:
        The method's name and its resolved settings.
    """
    method = method.resolved(may_be_mirrored=facts_of(dataset).may_be_mirrored)
    return {"name": method.name, **plain_settings(method)}


@dataclass(frozen=True, kw_only=True)
class Condense:
    """Condense a set; an interrupted run continues from its checkpoint.

    Attributes:
        data: The data set.
        method: Resolved settings of the method.
        seed: Seed of all random numbers.
        iterations: Outer iterations.
    """

    tag: ClassVar[str] = "CondenseCell"
    data: DataSource
    method: MethodConfig
    seed: int
    iterations: int

    @property
    def kind(self) -> str:
        """The network, and whatever else determines the time."""
        steps = self.method.steps_per_iteration
        steps_each = "" if steps == 1 else f" of {steps} steps"
        return f"condense with {self.method.kind}: {self.iterations} iterations{steps_each}"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Method, seed, iterations and images."""
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
        """The network whose gradients are matched."""
        return network_name(self.method.network)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Condense, or continue.

        Args:
            workspace: Folders and device.

        Returns:
            Fingerprint, last loss, iterations, seconds summed over interruptions, and memory of the last part.
        """
        return self.condense_into(workspace.folder(self), workspace.device)

    def condense_into(
        self, folder: Path, device: torch.device, *, time_limit: str | None = None
    ) -> dict[str, Any]:
        """Condense in any folder, or continue there.

        Args:
            folder: The run's folder.
            device: The device to compute on.
            time_limit: As in `RunConfig`.

        Returns:
            As `run`.
        """
        call = partial(
            self._condense, self.data.read().train, device, directory=folder, time_limit=time_limit
        )
        with peak_memory(device) as memory:
            try:
                condensed = call(resume=True)
            except ResumeError:
                # Damaged, or begun with another number of threads or another version: continuing would mix the two.
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
        """Time a few matching steps, with the training between them if an iteration has several.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """
        ends: list[float] = []

        def note(progress: Progress) -> None:
            ends.append(time.perf_counter())
            if len(ends) > _TIMED_STEPS:
                raise _EnoughTimedError

        with suppress(_EnoughTimedError):
            replace(self, iterations=_TIMED_STEPS + 1)._condense(
                self.data.read().train, device, observer=note
            )
        return (ends[-1] - ends[0]) / (len(ends) - 1) * self.method.steps_per_iteration * self.iterations

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Read the condensed set.

        Args:
            workspace: Where the task ran.

        Returns:
            The set.
        """
        return self.read_from(workspace.folder(self))

    @staticmethod
    def read_from(folder: Path) -> ImageSet:
        """Read the condensed set in any folder.

        Args:
            folder: The run's folder.

        Returns:
            The set.
        """
        return ImageSet.load(RunFolder(folder).result)

    def _condense(
        self,
        train: ImageSet,
        device: torch.device,
        *,
        directory: Path | None = None,
        resume: bool = False,
        force: bool = False,
        time_limit: str | None = None,
        observer: Callable[[Progress], None] | None = None,
    ) -> ImageSet:
        """Run the condensation loop."""
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
    """Train one network on a set and test it.

    Attributes:
        source: The task whose result is the set.
        protocol: The resolved protocol; its `repeats` is ignored.
        repeat: Number of the network, from 0, as in `evaluate_one`.
    """

    tag: ClassVar[str] = "EvaluateCell"
    source: SetTask
    protocol: ResolvedProtocol
    repeat: int

    @property
    def kind(self) -> str:
        """The network, and whatever else determines the time."""
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
        """Protocol, number of the network, and test images."""
        protocol = plain_settings(self.protocol, without="repeats")
        return {
            "protocol": protocol,
            "repeat": self.repeat,
            "images": {"test": self.source.data.content["test"]},
        }

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train and test.

        Args:
            workspace: Folders and device.

        Returns:
            The accuracy, 0 to 1.
        """
        images, test = self.source.image_set(workspace), self.source.data.read().test
        assert test is not None
        return {
            "accuracy": self._accuracy(images, test, self.protocol.epochs, workspace.device),
            "environment": {
                **environment(workspace.device),
                **backend(images, self.protocol, workspace.device)._asdict(),
            },
        }

    def estimate(self, device: torch.device) -> float:
        """Time a few epochs on real images, and the test.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """
        splits = self.source.data.read()
        assert splits.test is not None
        images = select_random(splits.train, self.source.ipc, 0)
        seconds = [
            seconds_of(partial(self._accuracy, images, splits.test, epochs, device), device)
            for epochs in (2, 2, 2 + _TIMED_EPOCHS)  # the first one warms up
        ]
        epoch = (seconds[2] - seconds[1]) / _TIMED_EPOCHS
        return max(seconds[1], seconds[1] + (self.protocol.epochs - 2) * epoch)

    def _accuracy(self, images: ImageSet, test: ImageSet, epochs: int, device: torch.device) -> float:
        """Train for a number of epochs and test."""
        return evaluate_one(images, test, replace(self.protocol, epochs=epochs), self.repeat, device=device)
