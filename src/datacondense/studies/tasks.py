"""The tasks of studies: condense a set, score it with one network, and search a learning rate.

A transform or a distance changes the size of the pixel gradient, so a comparison at one learning rate for all variants
measures how well that rate suits each of them. In a search each variant tries the same list of rates, by the accuracy
on held-out training images, never on the test images.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any, ClassVar, Protocol

from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.data.data_source import DataSource
from datacondense.data.whitening import whitened
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.evaluation.scoring import backend, evaluate_one
from datacondense.image_set import ImageSet
from datacondense.networks.names import network_name
from datacondense.run_folder import ResumeError, RunFolder
from datacondense.tasks.memory import peak_memory
from datacondense.tasks.store import Recorded, Workspace
from datacondense.tasks.task import TRAINING, Task, images_of
from datacondense.training import DivergedError

_UNLIMITED_ITERATIONS = 10**9  # the time limit ends the run
_PILOT_EPOCHS = 4


class SetTask(Recorded, Protocol):
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
        """Return the result."""


@dataclass(frozen=True, kw_only=True)
class Condense(Task):
    """Condense a set; an interrupted run continues from its checkpoint.

    The result has fingerprint, last loss, iterations, seconds summed over interruptions, memory of the last part, and
    the learning rate of a search.

    Attributes:
        data: The data set.
        method: Resolved settings of the method.
        seed: Seed of all random numbers.
        iterations: Outer iterations; None with a time budget.
        search: The search that finds the image learning rate; None keeps that of `method`.
        time_budget_from: Another set, whose condensing seconds this one may spend instead of a number of iterations.
            Both should run on the same machine under the same load.
    """

    tag: ClassVar[str] = "CondenseCell"
    data: DataSource = images_of(*TRAINING)
    method: MethodConfig
    seed: int
    iterations: int | None
    search: "SearchLearningRate | None" = None
    time_budget_from: "Condense | None" = None

    @property
    def label(self) -> str:
        """The network, and whatever else determines the time."""
        if self.time_budget_from is not None:
            return f"condense with {self.method.kind}: in the time of plain matching"
        steps = self.method.steps_per_iteration
        steps_each = "" if steps == 1 else f" of {steps} steps"
        return f"condense with {self.method.kind}: {self.iterations} iterations{steps_each}"

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.method.ipc

    @property
    def network(self) -> str | None:
        """The network whose gradients are matched."""
        return network_name(self.method.network)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Condense, or continue."""
        method, run, found = self.method, RunConfig(seed=self.seed, iterations=self.iterations), {}
        if self.search is not None:
            method = replace(method, image_lr=workspace.result(self.search)["image_lr"])
        if self.time_budget_from is not None:
            seconds = workspace.result(self.time_budget_from)["condensing_seconds"]
            run = replace(run, iterations=_UNLIMITED_ITERATIONS, time_limit=f"{seconds:.6f}s")
        if self.search is not None or self.time_budget_from is not None:
            found = {"image_lr": method.image_lr}
        folder, device = workspace.folder(self), workspace.device
        call = partial(condense, self.data.read().train, method, run, directory=folder, device=device)
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
            "memory": memory,
            "environment": condensed.provenance["environment"],
            **found,
        }

    @property
    def length(self) -> float | None:
        """Steps in all iterations; those of the set that gives the time budget."""
        if self.time_budget_from is not None:
            return self.time_budget_from.length
        return (self.iterations or 1) * self.method.steps_per_iteration

    def shortened(self, length: int) -> "Condense":
        """Take a few steps, with the training between them if an iteration has several."""
        if self.time_budget_from is not None:
            return self.time_budget_from.shortened(length)
        method, iterations = self.method, length
        if method.steps_per_iteration > 1:
            changed: Any = {"matching_steps": length}
            method, iterations = replace(method, **changed), 1
        return replace(self, method=method, iterations=iterations, search=None)

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return the condensed set."""
        return ImageSet.load(RunFolder(workspace.folder(self)).result)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Task):
    """Train one network on a set and test it; the result is the accuracy, 0 to 1, or None if training diverged.

    Attributes:
        source: The task whose result is the set, a `SetTask`.
        data: The data set with the test images.
        protocol: The resolved protocol; its `repeats` is ignored.
        repeat: Number of the network, from 0, as in `evaluate_one`.
    """

    tag: ClassVar[str] = "EvaluateCell"
    source: Any
    data: DataSource = images_of("test")
    protocol: ResolvedProtocol
    repeat: int

    @property
    def label(self) -> str:
        """The network, and whatever else determines the time."""
        protocol = self.protocol
        changed = "" if protocol.augmentation == "none" else f", {protocol.augmentation}"
        network = network_name(protocol.network)
        return f"train {network}: {protocol.epochs} epochs of ipc {self.source.ipc}{changed}"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train and test."""
        images, splits, device = self.source.image_set(workspace), self.data.read(), workspace.device
        test = splits.test
        assert test is not None
        if images.whitening is not None:
            test = whitened(test, splits.train, images.whitening)
        used = {**environment(device), **backend(images, self.protocol, device)._asdict()}
        recorded = workspace.result(self.source).get("fingerprint")
        if recorded not in {None, images.fingerprint}:
            raise InputError(
                f"{workspace.folder(self.source)} holds another set than was recorded there: remove the folder to have "
                "it made again."
            )
        try:
            accuracy = evaluate_one(images, test, self.protocol, self.repeat, device=device)
        except DivergedError as error:
            warnings.warn(str(error), stacklevel=2)  # recorded with the task
            return {"accuracy": None, "environment": used}
        return {"accuracy": accuracy, "environment": used}

    @property
    def length(self) -> float:
        """Epochs, a few at a time."""
        return self.protocol.epochs / _PILOT_EPOCHS

    def shortened(self, length: int) -> "Evaluate":
        """Train for a few epochs."""
        return replace(self, protocol=replace(self.protocol, epochs=length * _PILOT_EPOCHS))


@dataclass(frozen=True, kw_only=True)
class SearchLearningRate(Task):
    """Find the image learning rate whose sets score best on held-out images; of equal ones, the first.

    The result is the rate, and the accuracies of each rate on held-out images.

    Attributes:
        scores: For each learning rate the scores of its sets, equally many for each.
    """

    tag: ClassVar[str] = "ChoiceCell"
    scores: Mapping[float, tuple[Evaluate, ...]]

    @property
    def label(self) -> str:
        """What it does."""
        return "search the learning rate"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compare mean accuracies."""
        accuracies = {
            rate: [workspace.result(task)["accuracy"] for task in tasks]
            for rate, tasks in self.scores.items()
        }
        trained = {rate: found for rate, found in accuracies.items() if None not in found}
        if not trained:
            raise InputError(
                f"Training diverged on the sets of every image learning rate ({', '.join(map(str, accuracies))}): give "
                "smaller --image-lrs."
            )
        best = max(trained, key=lambda rate: fmean(trained[rate]))
        return {"image_lr": best, "held_out": [[rate, found] for rate, found in accuracies.items()]}
