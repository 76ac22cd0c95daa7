"""Training on a full data set: the upper bound, and what selections rely on; resumable after every epoch.

Its folder (see `run_folder`) holds

    network.safetensors      the trained parameters and buffers, and forgetting counts; written last
    checkpoint.safetensors   training between two epochs; removed at the end
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

import torch
from msgspec import Meta
from torch import Tensor

from datacondense.cuda_graphs import CudaGraphs
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.evaluation.scoring import accuracy, dtype_of
from datacondense.files import checked, reading
from datacondense.image_set import ImageSet
from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator
from datacondense.run_folder import Checkpoint, ResumeError, RunFolder
from datacondense.settings import plain_settings
from datacondense.tensor_files import flattened, group_of, read_tensors
from datacondense.training import Change, Loss, Model, TrainState, check_finite, train
from datacondense.user_code import given_before

NETWORK = "network.safetensors"
_CHECKPOINT_SECONDS = 60.0


class _Saved(TypedDict):
    """Progress of training, in its checkpoint."""

    epoch: Annotated[int, Meta(ge=0)]


class _Shape(TypedDict):
    """What a network was trained for."""

    image_shape: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=3, max_length=3)]
    num_classes: Annotated[int, Meta(ge=2)]


class FullState(NamedTuple):
    """Training between two epochs; it changes the network's buffers in place."""

    state: TrainState
    buffers: Parameters
    counts: ForgettingCounts


class FullTraining:
    """One network on all images of a set, by the protocol of condensed sets; orders and augmentations by the epoch.

    Attributes:
        network: The structure.
        environment: Where and how it computes, for provenance.
    """

    def __init__(self, images: ImageSet, protocol: ResolvedProtocol, repeat: int) -> None:
        protocol = protocol.for_labels_of(images)
        self._images, self._protocol, self._repeat = images.decoded(), protocol, repeat
        self._device, self._dtype = images.labels.device, dtype_of(protocol)
        self.network = build_network(protocol.network, images.image_shape, images.num_classes)
        backend = choose_backend(
            self.network, self._device, precision=protocol.precision, engine=protocol.engine
        )
        self._model = first_order_model(self.network, backend)
        self._in_training: Model = partial(self._model, training=True)
        self._labels = protocol.targets(self._images, self._dtype)
        self._loss: Loss = protocol.loss
        # A network of one's own may do what no graph repeats.
        self._graphs = CudaGraphs("cpu" if ":" in self.network.name else self._device)
        self.environment = {**environment(self._device), **backend._asdict()}

    def run(self, folder: RunFolder) -> FullState:
        """Train in a folder, or go on there; write the network, and return the state after the last epoch."""
        protocol = plain_settings(self._protocol)
        settings = {"protocol": protocol, "repeat": self._repeat, "environment": self.environment}
        with folder.claimed():
            try:
                folder.begin(settings, resume=True, force=False)
                if folder.result.exists():
                    return self._finished(folder)
                start = self._restored(folder.checkpoint(_Saved))
            except ResumeError:
                # Damaged, or begun with another number of threads or another version: its end would mix the two.
                folder.begin(settings, resume=False, force=True)
                start = None
            saved_at = time.monotonic()

            def after_epoch(reached: FullState) -> None:
                nonlocal saved_at
                if time.monotonic() - saved_at >= _CHECKPOINT_SECONDS:
                    folder.save_checkpoint(_tensors(reached, unfinished=True), {"epoch": reached.state.epoch})
                    saved_at = time.monotonic()

            trained = self.trained(start or self.start(), after_epoch=after_epoch)
            check_finite(trained.state.parameters, self._protocol.lr)
            folder.save_result(_tensors(trained), self._described())
            folder.remove_checkpoint()
        return trained

    def start(self) -> FullState:
        """Return the state before the first epoch: a fresh network."""
        # The purposes keep their first names, which the random numbers depend on.
        drawn = self.network.draw(seeded_generator(self._protocol.seed, "whole network", self._repeat))
        parameters, buffers = (
            moved(tensors, self._device, self._dtype) for tensors in (drawn, self.network.buffers())
        )
        counts = ForgettingCounts.none(len(self._images), self._device)
        return FullState(TrainState.begun(parameters), buffers, counts)

    def trained(
        self, start: FullState, *, after_epoch: Callable[[FullState], None] | None = None
    ) -> FullState:
        """Return the state after all epochs; `start` does not change.

        `after_epoch` is called with a state that changes in place later on.
        """
        protocol = self._protocol
        buffers, counts = {name: buffer.clone() for name, buffer in start.buffers.items()}, start.counts
        # Positions stand for images until a batch is needed: all of them, normalised, would take four times the memory.
        positions = torch.arange(len(self._images), device=self._device)

        def watch(seen: Tensor, logits: Tensor) -> None:
            nonlocal counts
            own = logits[:, : self._images.num_classes]
            counts = counts.seen(seen, own.argmax(1) == self._images.labels[seen])

        def report(state: TrainState) -> None:
            if after_epoch is not None:
                after_epoch(FullState(state, buffers, counts))

        state = train(
            self._in_training,
            start.state,
            positions,
            self._labels,
            epochs=protocol.epochs,
            sgd=lambda epoch: protocol.sgd(epoch, protocol.epochs),
            order=partial(seeded_generator, protocol.seed, "whole order", self._repeat),
            change=self._change,
            buffers=buffers,
            loss=self._loss,
            watch=watch,
            after_epoch=report,
            graphs=self._graphs,
        )
        return FullState(state, buffers, counts)

    def accuracy(self, reached: FullState, test: ImageSet) -> float:
        """Compute the share of right answers on test images, 0 to 1."""
        return accuracy(self._model, reached.state.parameters, reached.buffers, test, self._images)

    def _change(self, epoch: int) -> Change:
        """Return what makes images, each augmented in its own way, of positions."""
        protocol = self._protocol
        generator = seeded_generator(protocol.seed, "whole augmentation", self._repeat, epoch)
        changed = protocol.change(self._images.num_classes, generator)

        def change(positions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return changed(self._images.normalised(positions).to(self._dtype), labels)

        return change

    def _described(self) -> dict[str, str]:
        """Return what the network is built from."""
        network = self.network
        shape = {"image_shape": network.image_shape, "num_classes": network.num_classes}
        return {"network": network.name, **{name: json.dumps(value) for name, value in shape.items()}}

    def _finished(self, folder: RunFolder) -> FullState:
        """Read what training has left; momentum is of no use any more."""
        trained = read_network(folder, self.network, self._device)
        state = TrainState(self._protocol.epochs, trained.parameters, {})
        return FullState(state, trained.buffers, read_counts(folder))

    def _restored(self, saved: Checkpoint | None) -> FullState | None:
        """Return the state of a checkpoint; None where there is none with counts."""
        if saved is None:
            return None
        parameters, velocity, buffers, counts = (
            _group(saved.tensors, name, self._device)
            for name in ("parameters", "velocity", "buffers", "counts")
        )
        # A release that did not count: counts that miss epochs would select other images.
        if not counts:
            return None
        state = TrainState(int(saved.progress["epoch"]), parameters, velocity)
        return FullState(state, buffers, ForgettingCounts(**counts))


class TrainedNetwork(NamedTuple):
    """A network with its trained numbers."""

    network: Network
    parameters: Parameters
    buffers: Parameters


def read_network(folder: RunFolder, network: Network, device: torch.device) -> TrainedNetwork:
    """Read a network that `FullTraining.run` wrote."""
    tensors, _ = read_tensors(folder.result)
    return TrainedNetwork(network, _group(tensors, "parameters", device), _group(tensors, "buffers", device))


def load_network(path: Path | str) -> TrainedNetwork:
    """Read a network that was trained on a full data set, or in a stage of continual learning.

    Args:
        path: The file, `network.safetensors`.

    Returns:
        Its structure, parameters and buffers, on the CPU: `network(parameters, images, buffers)` gives logits.

    Raises:
        InputError: There is no such file, it is damaged or older than its shape's record, or it names a network of the
            user's own that this process has not built.
    """
    tensors, metadata = read_tensors(Path(path))
    with reading(Path(path), "a trained network", "train it again"):
        shape = {name: json.loads(metadata[name]) for name in ("image_shape", "num_classes")}
        checked(shape, _Shape)
        name = metadata["network"]
    given = given_before(name, "--network") if ":" in name else name
    network = build_network(given, tuple(shape["image_shape"]), shape["num_classes"])
    cpu = torch.device("cpu")
    return TrainedNetwork(network, _group(tensors, "parameters", cpu), _group(tensors, "buffers", cpu))


def read_counts(folder: RunFolder) -> ForgettingCounts:
    """Read how often each training image was forgotten."""
    counts = _group(read_tensors(folder.result)[0], "counts", torch.device("cpu"))
    if not counts:
        raise InputError(
            f"{folder.path} was recorded by a release that did not count forgetting: remove it to train again."
        )
    return ForgettingCounts(**counts)


def _group(tensors: Mapping[str, Tensor], name: str, device: torch.device) -> Parameters:
    """Return one group of the tensors of a file."""
    return {key: tensor.to(device) for key, tensor in group_of(tensors, name).items()}


def _tensors(reached: FullState, *, unfinished: bool = False) -> dict[str, Tensor]:
    """Name every tensor by its group, for a file; momentum is of no use once training is over."""
    groups = {
        "parameters": reached.state.parameters,
        "buffers": reached.buffers,
        "counts": reached.counts._asdict(),
    }
    if unfinished:
        groups["velocity"] = reached.state.velocity
    return flattened(groups)
