"""The tasks of continual learning: a network learns stage after stage, with a memory of the stages before."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from statistics import fmean
from typing import Any, ClassVar

import torch

from datacondense.applications.distillation import DistillationConfig, distilling, grown
from datacondense.data.data_source import DataSource, identified
from datacondense.data.joining import joined, numbered
from datacondense.evaluation.full_training import (
    NETWORK,
    FullState,
    FullTraining,
    TrainedNetwork,
    read_network,
)
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import ImageSet
from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.names import network_name
from datacondense.run_folder import RunFolder
from datacondense.tasks.store import Workspace
from datacondense.tasks.task import TRAINING, Task, images_of
from datacondense.training import TrainState

_PILOT_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class KeepAll(Task):
    """Keep all training images of a stage: the memory of the upper bound.

    Attributes:
        data: The stage.
    """

    tag: ClassVar[str] = "KeepAll"
    data: DataSource = images_of(*TRAINING)

    @property
    def label(self) -> str:
        """What it does."""
        return "keep all images"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Do nothing: the images are where they were."""
        return {"fingerprint": self.data.read().train.fingerprint, "condensing_seconds": 0.0}

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return all training images."""
        return self.data.read().train


@dataclass(frozen=True, kw_only=True)
class LearnStage(Task):
    """Train a network in one stage, and test it on the test images of every stage so far.

    The result has the accuracies, 0 to 1, stage by stage, and their mean, and what the memory holds.
    `network.safetensors` in the task's folder is the trained network, see `load_network`.

    Attributes:
        stages: The stages so far; the last is new.
        memory: What is kept of stages, a `SetTask` for each.
        protocol: The resolved protocol; its epochs are counted as the subclass says.
        repeat: Number of the network, from 0.
    """

    stages: tuple[DataSource, ...] = images_of(*TRAINING, "test")
    memory: tuple[Any, ...] = ()
    protocol: ResolvedProtocol
    repeat: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of all stages so far, in the order in which they came."""
        sets = [stage.read().train for stage in self.stages]
        return tuple(dict.fromkeys(name for images in sets for name in images.class_names))

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or continue, and test."""
        kept = [each.image_set(workspace) for each in self.memory]
        training, trained = self.train(kept, workspace)
        accuracies, names = [], self.class_names
        for stage in self.stages:
            test = stage.read().test
            assert test is not None, "stages are identified"
            own = numbered(test, names).to(workspace.device)
            accuracies.append(training.accuracy(trained, own))
        return {
            "accuracy": fmean(accuracies),
            "accuracies": accuracies,
            "memory_images": sum(map(len, kept)),
            "memory_bytes": sum(each.images.nbytes + each.labels.nbytes for each in kept),
            "environment": training.environment,
        }

    def train(self, kept: list[ImageSet], workspace: Workspace) -> tuple[FullTraining, FullState]:
        """Train the network.

        Args:
            kept: The sets of the memory.
            workspace: The folders, and the device to compute on.

        Returns:
            The training, and its last state.

        Raises:
            NotImplementedError: The subclass does not say how.
        """
        raise NotImplementedError(f"{type(self).__name__} has no train(kept, workspace).")

    def trained(self, workspace: Workspace) -> TrainedNetwork:
        """Return the trained network, its tensors on the workspace's device.

        Args:
            workspace: The folders and the device.

        Returns:
            The network.
        """
        shape = self.stages[-1].read().train.image_shape
        network = build_network(self.protocol.network, shape, len(self.class_names))
        return read_network(RunFolder(workspace.folder(self), NETWORK), network, workspace.device)


@dataclass(frozen=True, kw_only=True)
class LearnFromMemory(LearnStage):
    """Train a fresh network on the memory alone (Prabhu et al. 2020), which holds a set of the new stage too.

    Epochs are passes over the memory.
    """

    tag: ClassVar[str] = "LearnFromMemory"

    @property
    def label(self) -> str:
        """The network, and how much it learns from."""
        sets = f"{len(self.memory)} set{'s' * (len(self.memory) > 1)}"
        return f"train {network_name(self.protocol.network)} on {sets} for {self.protocol.epochs} epochs"

    @property
    def length(self) -> float:
        """Epochs."""
        return self.protocol.epochs

    def shortened(self, length: int) -> "LearnFromMemory":
        """Train for a few epochs."""
        return replace(self, protocol=replace(self.protocol, epochs=length))

    def train(self, kept: list[ImageSet], workspace: Workspace) -> tuple[FullTraining, FullState]:
        """Train on all sets together."""
        images = joined(kept, self.class_names).to(workspace.device)
        training = FullTraining(images, self.protocol, self.repeat)
        return training, training.run(RunFolder(workspace.folder(self), NETWORK))


@dataclass(frozen=True, kw_only=True)
class LearnEndToEnd(LearnStage):
    """Let one network go on with the new stage and the memory, then fine-tune it in balance (Castro et al. 2018).

    It trains on all new images and on the memory together, held to the network of the stage before where that is the
    teacher. The memory is far smaller than the new data, so that classes are out of balance: fine-tuning, with a tenth
    of the learning rate, sees equally many images of each stage. Steps are updates: whole epochs, as many as come
    closest to them.

    Attributes:
        before: The stage before; None in the first one, in which the network is fresh.
        steps: Updates on the new images and the memory.
        distillation: How the network is held to the one of the stage before; None leaves it free.
        own: What is kept of the new stage, for fine-tuning; None leaves fine-tuning out.
        fine_tuning_steps: Updates in balance.
    """

    tag: ClassVar[str] = "LearnEndToEnd"
    before: "LearnEndToEnd | None" = None
    steps: int
    distillation: DistillationConfig | None = None
    own: Any = None
    fine_tuning_steps: int = 0

    @property
    def label(self) -> str:
        """The network, and how long it trains."""
        held = "" if self.distillation is None else ", distilled"
        return f"stage with {network_name(self.protocol.network)}, {self.steps} steps{held}"

    def train(self, kept: list[ImageSet], workspace: Workspace) -> tuple[FullTraining, FullState]:
        """Train on the new images and the memory, then in balance."""
        folder, final = workspace.folder(self), RunFolder(workspace.folder(self), NETWORK)
        phase = partial(
            _Phase, protocol=self.protocol, device=workspace.device, distillation=self.distillation
        )
        before = None if self.before is None else self.before.trained(workspace)
        images = joined([*kept, self.stages[-1].read().train], self.class_names)
        training = phase(images, self.steps, self._number(0), before)
        if self.own is None:
            return training, training.run(final)
        learned = training.run(RunFolder(folder / "unbalanced", NETWORK))
        after = TrainedNetwork(training.network, learned.state.parameters, learned.buffers)
        balanced = joined([*kept, self.own.image_set(workspace)], self.class_names)
        training = phase(balanced, self.fine_tuning_steps, self._number(1), after, fine_tuning=True)
        return training, training.run(final)

    def _number(self, phase: int) -> int:
        """Return a number for each phase of each stage, which its random orders depend on."""
        return 2 * (len(self.stages) - 1) + phase

    @property
    def length(self) -> float:
        """Steps, a few at a time."""
        return (self.steps + self.fine_tuning_steps) / _PILOT_STEPS

    def shortened(self, length: int) -> "LearnEndToEnd":
        """Learn the new stage alone, in a few steps."""
        few = length * _PILOT_STEPS * self.protocol.batch_size
        data = identified(replace(self.stages[-1], num_images=few, content={}))
        return replace(
            self,
            stages=(data,),
            before=None,
            memory=(),
            own=None,
            distillation=None,
            steps=length * _PILOT_STEPS,
        )


class _Phase(FullTraining):
    """Training that goes on from a network, which may also be its teacher."""

    def __init__(
        self,
        images: ImageSet,
        steps: int,
        number: int,
        before: TrainedNetwork | None,
        *,
        protocol: ResolvedProtocol,
        device: torch.device,
        distillation: DistillationConfig | None,
        fine_tuning: bool = False,
    ) -> None:
        epochs = max(1, round(steps / ceil(len(images) / protocol.batch_size)))
        lr = protocol.lr * (0.1 if fine_tuning else 1)
        super().__init__(images.to(device), replace(protocol, epochs=epochs, lr=lr), number)
        self._before = before
        if before is None or distillation is None:
            return
        backend = choose_backend(before.network, device, precision=protocol.precision, engine=protocol.engine)
        self._in_training, self._loss = distilling(
            self._in_training,
            first_order_model(before.network, backend),
            (before.parameters, before.buffers),
            distillation,
            num_classes=images.num_classes,
            old_only=not fine_tuning,
        )

    def start(self) -> FullState:
        """Return the state before the first epoch: the network as it was, with fresh outputs for new classes."""
        fresh = super().start()
        if self._before is None:
            return fresh
        parameters = grown(self._before.parameters, fresh.state.parameters)
        buffers = grown(self._before.buffers, fresh.buffers)
        return FullState(TrainState.begun(parameters), buffers, fresh.counts)
