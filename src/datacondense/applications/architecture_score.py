"""The score of an architecture: one network, trained once and measured on held-out and on test images."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch

from datacondense.data.data_source import DataSource
from datacondense.environment import environment
from datacondense.evaluation.full_training import NETWORK, FullTraining
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.evaluation.scoring import accuracy, train_one
from datacondense.image_set import ImageSet
from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.names import network_name
from datacondense.random import seeded_generator
from datacondense.run_folder import RunFolder
from datacondense.settings import narrowed
from datacondense.tasks.store import Workspace
from datacondense.tasks.task import Task, images_of
from datacondense.training import SGD, DivergedError, check_finite


@dataclass(frozen=True, kw_only=True)
class StoppedProtocol(ResolvedProtocol):
    """A protocol that stops before its learning rate drops."""

    def sgd(self, epoch: int, epochs: int) -> SGD:
        """Return the optimiser of every epoch, with the learning rate of the first half."""
        return super().sgd(0, 2 * epochs)


@dataclass(frozen=True, kw_only=True)
class ScoreArchitecture(Task):
    """Train one network; the result has its accuracy on held-out and on test images, None if training diverged.

    Attributes:
        data: The data set with images held out in the place of the test images; the rest is trained on.
        tested_on: The data set with the test images, which nothing is chosen by.
        protocol: The resolved protocol; its `repeats` is ignored.
        repeat: Number of the network, from 0; with the protocol's seed it determines all random numbers.
        source: The task whose result is the set to train on, a `SetTask`; None means all images that are not held out.
        stop_after: If given, train on the full data set at the first learning rate, until about so many images were
            seen: some at random, each once, or full epochs where these are more images than there are.
    """

    tag: ClassVar[str] = "ScoreArchitecture"
    data: DataSource
    tested_on: DataSource = images_of("test")
    protocol: ResolvedProtocol
    repeat: int
    source: Any = None
    stop_after: int | None = None

    @property
    def label(self) -> str:
        """The network, and what it is trained on."""
        name = network_name(self.protocol.network)
        if self.source is not None:
            return f"train {name}: {self.protocol.epochs} epochs of ipc {self.source.ipc}"
        images = "" if self.stop_after is None else f" until {self.stop_after} images were seen"
        return f"train {name} on the full data set{images}"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or continue, and measure."""
        device = workspace.device
        parts = {"held_out": self.data.read().test, "test": self.tested_on.read().test}
        full = self.data.read().train if self.source is None else self.source.image_set(workspace)
        images = full if self.stop_after is None else self._part(full)
        found: dict[str, Any] = {"images": len(images), "environment": environment(device)}
        began = time.perf_counter()
        try:
            trained = self._trained(images.to(device), workspace)
            found |= {"training_seconds": time.perf_counter() - began, "environment": trained.environment}
            return found | {name: trained.accuracy(part.to(device)) for name, part in parts.items() if part}
        except DivergedError as error:
            warnings.warn(str(error), stacklevel=2)  # recorded with the task
            return {"training_seconds": time.perf_counter() - began} | found | dict.fromkeys(parts)

    def _trained(self, images: ImageSet, workspace: Workspace) -> "_Trained":
        """Train a network on a set, or on the full data set to the end or until it is stopped."""
        protocol = self.protocol
        if self.source is not None:
            network = build_network(protocol.network, images.image_shape, images.num_classes)
            backend = choose_backend(
                network, workspace.device, precision=protocol.precision, engine=protocol.engine
            )
            numbers = train_one(network, images, protocol, self.repeat)
            check_finite(numbers[0], protocol.lr)
            measure = partial(accuracy, first_order_model(network, backend), *numbers, scale=images)
            return _Trained(measure, environment(workspace.device) | backend._asdict())
        if self.stop_after is None:
            training = FullTraining(images, protocol, self.repeat)
            reached = training.run(RunFolder(workspace.folder(self), NETWORK))
        else:
            epochs = max(1, self.stop_after // len(images))
            stopped = narrowed(StoppedProtocol, protocol, epochs=epochs)
            training = FullTraining(images, stopped, self.repeat)
            reached = training.trained(training.start())
            check_finite(reached.state.parameters, protocol.lr)
        return _Trained(partial(training.accuracy, reached), training.environment)

    def _part(self, images: ImageSet) -> ImageSet:
        """Return the images that training sees before it is stopped."""
        assert self.stop_after is not None
        if self.stop_after >= len(images):
            return images
        generator = seeded_generator(self.protocol.seed, "early stopping", self.repeat)
        return images.subset(torch.randperm(len(images), generator=generator)[: self.stop_after])


class _Trained(NamedTuple):
    """A trained network: from images to its accuracy on them, and where it was trained."""

    accuracy: Callable[[ImageSet], float]
    environment: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """How architectures are scored: what their networks are trained on, and by which protocol.

    Attributes:
        name: Name of the proxy, or "reference".
        data: The data set with images held out, as in `ScoreArchitecture`.
        tested_on: The data set with the test images.
        protocol: The protocol; its network is replaced.
        repeats: Networks of each architecture.
        source: The task whose result is the set to train on.
        stop_after: Images after which training on the full data set stops.
    """

    name: str
    data: DataSource
    tested_on: DataSource
    protocol: ResolvedProtocol
    repeats: int
    source: Any = None
    stop_after: int | None = None

    def tasks(self, network: str) -> list[ScoreArchitecture]:
        """Return one task for each network of an architecture."""
        return [
            ScoreArchitecture(
                data=self.data,
                tested_on=self.tested_on,
                protocol=replace(self.protocol, network=network),
                repeat=repeat,
                source=self.source,
                stop_after=self.stop_after,
            )
            for repeat in range(self.repeats)
        ]
