"""The cell that trains a network on the whole training set: the upper bound, and what selections go by.

It keeps beside its record

    network.safetensors      the trained parameters and buffers, and what was forgotten; written last
    checkpoint.safetensors   training between two epochs; replaced atomically, removed at the end
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from datacondense.augment.by_name import augmented
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import accuracy, backend
from datacondense.image_set import ImageSet, check_trainable
from datacondense.networks.builder import build_network
from datacondense.networks.fused import NetworkFunction, choose_backend, first_order_model
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator
from datacondense.selection.forgetting import ForgettingCounts
from datacondense.studies.data_source import DataSource
from datacondense.studies.task import Task, Workspace, plain_settings
from datacondense.studies.timing import first_images, seconds_of
from datacondense.tensor_files import read_tensors, write_tensors
from datacondense.training import train, zero_velocity

_CHECKPOINT_SECONDS = 60.0
_WARMING_BATCHES = 2
_TIMED_BATCHES = 4
_TIMED_IMAGES = 500  # of a pass without training

_NETWORK = "network.safetensors"
_CHECKPOINT = "checkpoint.safetensors"


class TrainedNetwork(NamedTuple):
    """A network with its trained numbers.

    Attributes:
        network: The structure.
        parameters: Its trained parameters.
        buffers: Its buffers.
    """

    network: Network
    parameters: Parameters
    buffers: Parameters


@dataclass(frozen=True, kw_only=True)
class TrainFull:
    """Train one network on all training images and measure it; training that was stopped continues after an epoch.

    The protocol is that of a condensed set (see `EvaluationConfig`), with orders and augmentations drawn per epoch.

    Attributes:
        data: The data set.
        protocol: The protocol, without None; its `repeats` means nothing here.
        repeat: Number of the network, from 0; with the protocol's seed it fixes everything that is drawn.
    """

    tag: ClassVar[str] = "WholeCell"
    data: DataSource
    protocol: EvaluationConfig
    repeat: int

    @property
    def kind(self) -> str:
        """The network, which is what takes time."""
        return f"train {self.protocol.network} on the whole set"

    @property
    def inputs(self) -> Sequence[Task]:
        """None."""
        return ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Protocol, number of the network, and images."""
        protocol = plain_settings(self.protocol, without="repeats")
        return {"protocol": protocol, "repeat": self.repeat, "images": dict(self.data.content)}

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Train, or go on, and measure.

        Args:
            place: Folders and device.

        Returns:
            The accuracy, 0 to 1; None where the data set has no images to be scored on.
        """
        assert self.protocol.epochs is not None
        training, test = self._prepared(place.device)
        computed = {
            **environment(place.device),
            **backend(training.images, self.protocol, place.device)._asdict(),
        }
        folder = place.folder(self)
        state = _restored(folder / _CHECKPOINT, computed, place.device) or training.start()
        saved = time.monotonic()
        while state.epoch < self.protocol.epochs:
            state = training.continued(state)
            if time.monotonic() - saved >= _CHECKPOINT_SECONDS:
                _save(folder / _CHECKPOINT, state, computed)
                saved = time.monotonic()
        share = training.accuracy(state, test) if test is not None else None
        trained = _named(parameters=state.parameters, buffers=state.buffers, counts=state.counts._asdict())
        write_tensors(folder / _NETWORK, trained, {"network": training.network.name})
        (folder / _CHECKPOINT).unlink(missing_ok=True)
        return {"accuracy": share, "environment": computed}

    def estimate(self, device: torch.device) -> float:
        """Time a few batches, and the test of a few images.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """
        assert self.protocol.epochs is not None
        training, test = self._prepared(device)
        state, images = training.start(), training.images
        warming, timed = (
            min(len(images), batches * self.protocol.batch_size)
            for batches in (_WARMING_BATCHES, _TIMED_BATCHES)
        )
        training.continued(state, warming)
        epoch = seconds_of(lambda: training.continued(state, timed), device) * len(images) / timed
        if test is None:
            return self.protocol.epochs * epoch
        part = first_images(test, _TIMED_IMAGES)
        training.accuracy(state, part)
        scored = seconds_of(lambda: training.accuracy(state, part), device) * len(test) / len(part)
        return self.protocol.epochs * epoch + scored

    def trained(self, place: Workspace) -> TrainedNetwork:
        """Read the result.

        Args:
            place: Where the cell ran.

        Returns:
            The network, its numbers on the place's device.
        """
        tensors, _ = read_tensors(place.folder(self) / _NETWORK)
        return TrainedNetwork(
            self.structure(),
            _group(tensors, "parameters", place.device),
            _group(tensors, "buffers", place.device),
        )

    def forgetting(self, place: Workspace) -> ForgettingCounts:
        """Read what was remembered of each training image.

        Args:
            place: Where the cell ran.

        Returns:
            The counts, on the CPU.

        Raises:
            InputError: The record is older than these counts.
        """
        folder = place.folder(self)
        counts = _group(read_tensors(folder / _NETWORK)[0], "counts", torch.device("cpu"))
        if not counts:
            raise InputError(
                f"{folder} was recorded before forgetting was counted: remove it, and the network is trained anew."
            )
        return ForgettingCounts(**counts)

    def structure(self) -> Network:
        """Build the structure that is trained.

        Returns:
            The network for the images of the data set.
        """
        assert self.protocol.network is not None
        images = self.data.read().train
        return build_network(self.protocol.network, images.image_shape, images.num_classes)

    def _prepared(self, device: torch.device) -> "tuple[_Training, ImageSet | None]":
        """Bring images and network to where they compute; give the test images too, where there are any."""
        splits = self.data.read()
        check_trainable(splits.train)
        network = self.structure()
        selected = choose_backend(
            network, device, precision=self.protocol.precision, engine=self.protocol.engine
        )
        model = first_order_model(network, selected)
        training = _Training(network, model, splits.train.to(device), self.protocol, self.repeat)
        return training, None if splits.test is None else splits.test.to(device)


class _State(NamedTuple):
    """Training between two epochs; its tensors are never changed in place."""

    epoch: int  # the one that comes next, from 0
    parameters: Parameters
    velocity: Parameters
    buffers: Parameters
    counts: ForgettingCounts


@dataclass(frozen=True)
class _Training:
    """What stays the same from epoch to epoch."""

    network: Network
    model: NetworkFunction
    images: ImageSet
    protocol: EvaluationConfig
    repeat: int

    def start(self) -> _State:
        """Draw the network."""
        drawn = self.network.draw(seeded_generator(self.protocol.seed, "whole network", self.repeat))
        parameters, buffers = (
            moved(tensors, self._device, self._dtype) for tensors in (drawn, self.network.buffers())
        )
        counts = ForgettingCounts.none(len(self.images), self._device)
        return _State(0, parameters, zero_velocity(parameters), buffers, counts)

    def continued(self, state: _State, num_images: int | None = None) -> _State:
        """Train for one epoch, on the first images alone where a number is given."""
        protocol = self.protocol
        assert protocol.epochs is not None
        order, change = (
            seeded_generator(protocol.seed, purpose, self.repeat, state.epoch)
            for purpose in ("whole order", "whole augmentation")
        )
        buffers = {name: buffer.clone() for name, buffer in state.buffers.items()}
        # Positions stand for images until a batch is drawn: all of them, normalised, would take four times the memory.
        positions = torch.arange(num_images or len(self.images), device=self._device)
        counts = state.counts

        def watch(seen: Tensor, logits: Tensor) -> None:
            nonlocal counts
            counts = counts.seen(seen, logits.argmax(1) == self.images.labels[seen])

        parameters, velocity = train(
            partial(self.model, buffers=buffers, training=True),
            state.parameters,
            state.velocity,
            positions,
            self.images.labels[positions],
            sgd=replace(
                protocol.sgd, lr=protocol.lr if state.epoch < protocol.epochs // 2 else protocol.lr * 0.1
            ),
            epochs=1,
            generator=order,
            augmentation=partial(self._inputs, generator=change),
            watch=watch,
        )
        return _State(state.epoch + 1, parameters, velocity, buffers, counts)

    def accuracy(self, state: _State, test: ImageSet) -> float:
        """Give the share of right answers, 0 to 1."""
        return accuracy(self.model, state.parameters, state.buffers, test, self.images)

    def _inputs(self, positions: Tensor, *, generator: torch.Generator) -> Tensor:
        """Give the images at some positions as the network sees them, each changed by fresh random numbers."""
        assert self.protocol.augmentation is not None
        images = self.images.normalised(positions).to(self._dtype)
        return augmented(self.protocol.augmentation, images, generator)

    @property
    def _device(self) -> torch.device:
        return self.images.labels.device

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float64 if self.protocol.precision == "float64" else torch.float32


def _save(path: Path, state: _State, computed: Mapping[str, Any]) -> None:
    """Write a checkpoint, with the environment that its end must share."""
    tensors = _named(
        parameters=state.parameters,
        velocity=state.velocity,
        buffers=state.buffers,
        counts=state.counts._asdict(),
    )
    write_tensors(path, tensors, {"environment": _canonical(computed), "epoch": str(state.epoch)})


def _restored(path: Path, computed: Mapping[str, Any], device: torch.device) -> _State | None:
    """Read a checkpoint; None where there is none from this environment."""
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path)
    except InputError:  # damaged, and beginning anew gives the same result
        return None
    # Begun with another number of threads or another version, training would end in a mixture of the two.
    if metadata.get("environment") != _canonical(computed):
        return None
    parameters, velocity, buffers = (
        _group(tensors, group, device) for group in ("parameters", "velocity", "buffers")
    )
    counts = _group(tensors, "counts", device)
    # Of a release that did not count: counts that miss epochs would choose other images.
    if not counts:
        return None
    return _State(int(metadata["epoch"]), parameters, velocity, buffers, ForgettingCounts(**counts))


def _canonical(values: Mapping[str, Any]) -> str:
    """Write plain JSON values as one text for equal values."""
    return json.dumps(values, sort_keys=True)


def _named(**groups: Parameters) -> dict[str, Tensor]:
    """Put groups of tensors under one roof, each name behind that of its group."""
    return {f"{group}/{name}": tensor for group, held in groups.items() for name, tensor in held.items()}


def _group(tensors: Mapping[str, Tensor], group: str, device: torch.device) -> Parameters:
    """Undo `_named` for one group."""
    return {
        name.removeprefix(f"{group}/"): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith(f"{group}/")
    }
