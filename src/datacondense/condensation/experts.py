"""Expert trajectories (Cazenavette et al., CVPR 2022, section 3.1): networks in training on all real images.

An expert is trained once for its images, settings, seed and machine, and kept in the user's cache folder: a killed run
goes on with it, and later runs find it. Its folder is that of `FullTraining`, and holds

    epoch-0000.safetensors   the parameters before training, float32
    epoch-0001.safetensors   those after the first epoch, and so on
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from datacondense.cache import cache_folder
from datacondense.cuda_graphs import sent
from datacondense.errors import InputError
from datacondense.evaluation.full_training import NETWORK, FullState, FullTraining
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import ImageSet
from datacondense.locking import locked
from datacondense.networks.network import Network, Parameters
from datacondense.run_folder import RunFolder
from datacondense.settings import plain_settings
from datacondense.tensor_files import read_tensors, write_tensors
from datacondense.training import SGD, DivergedError, TrainState

_VERSION = 1  # to be raised when training changes, so that earlier experts are not taken for new ones


@dataclass(frozen=True, kw_only=True)
class ExpertProtocol(ResolvedProtocol):
    """Training of an expert: full training at a constant learning rate."""

    def sgd(self, epoch: int, epochs: int) -> SGD:
        """Return the same optimiser in every epoch.

        Args:
            epoch: Not used.
            epochs: Not used.

        Returns:
            Learning rate, momentum, weight decay and batch size.
        """
        return SGD(**{name: getattr(self, name) for name in ("lr", "momentum", "weight_decay", "batch_size")})


class Experts:
    """The experts of one run, each trained when it is first needed.

    Attributes:
        folder: Where they are kept.
    """

    def __init__(self, train: ImageSet, protocol: ExpertProtocol) -> None:
        self._train, self._protocol = train, protocol
        self._ready: set[int] = set()

    @cached_property
    def folder(self) -> Path:
        """The folder of experts of these images and settings on this machine."""
        training = FullTraining(self._train, self._protocol, 0)
        described = {
            "version": _VERSION,
            "images": [self._train.fingerprint, self._train.mean, self._train.std],
            "protocol": plain_settings(self._protocol),
            "environment": training.environment,
            **_trial(training.network),
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        return cache_folder() / "experts" / digest

    def parameters(self, number: int, epoch: int, dtype: torch.dtype = torch.float32) -> Parameters:
        """Return the parameters of an expert after an epoch.

        Args:
            number: Number of the expert, from 0.
            epoch: Epochs of its training, from 0.
            dtype: Type of the parameters; they are kept as float32.

        Returns:
            The parameters by name, on the device of the images.

        Raises:
            InputError: Training diverged, or a file is missing or damaged.
        """
        own = self.folder / f"{number:04d}"
        if number not in self._ready:
            with locked(self.folder / f"{number:04d}.lock", wait=True):
                self._train_expert(number, own)
            self._ready.add(number)
        try:
            tensors, _ = read_tensors(_file(own, epoch))
        except InputError as error:
            raise InputError(
                f"An expert cannot be read: remove the folder {own} to train it again. {error}"
            ) from error
        return {name: sent(tensor.to(dtype), self._train.images.device) for name, tensor in tensors.items()}

    def _train_expert(self, number: int, own: Path) -> None:
        """Train an expert, or go on; nothing is done where it is trained."""
        try:
            _Expert(self._train, self._protocol, number, own).run(RunFolder(own, NETWORK))
        except DivergedError as error:
            rate = self._protocol.lr
            raise InputError(
                f"Expert {number} diverged at network_lr {rate:g}: give a smaller --network-lr, such as {rate / 10:g}."
            ) from error


class _Expert(FullTraining):
    """Full training that keeps the parameters of every epoch."""

    def __init__(self, images: ImageSet, protocol: ExpertProtocol, number: int, folder: Path) -> None:
        super().__init__(images, protocol, number)
        self._folder = folder

    def trained(
        self, start: FullState, *, after_epoch: Callable[[FullState], None] | None = None
    ) -> FullState:
        def report(reached: FullState) -> None:
            self._keep(reached.state)
            if after_epoch is not None:
                after_epoch(reached)

        if start.state.epoch == 0:
            self._keep(start.state)
        return super().trained(start, after_epoch=report)

    def _keep(self, state: TrainState) -> None:
        parameters = {name: tensor.float() for name, tensor in state.parameters.items()}
        write_tensors(_file(self._folder, state.epoch), parameters, {"network": self.network.name})


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}.safetensors"


def _trial(network: Network) -> dict[str, str]:
    """Return what a user's own network answers in a trial, since its name does not tell what it computes."""
    if ":" not in network.name:
        return {}
    generator = torch.Generator().manual_seed(0)
    parameters = network.draw(generator)
    with torch.no_grad():
        answers = network(parameters, torch.randn(2, *network.image_shape, generator=generator))
    return {"answers": hashlib.sha256(answers.numpy().tobytes()).hexdigest()}
