"""Selection of real images by a network; trained networks and features are kept for the next selection."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from datacondense.cache import cache_folder
from datacondense.data.data_source import DataSource, identified
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.evaluation.full_training import (
    NETWORK,
    FullTraining,
    TrainedNetwork,
    read_counts,
    read_network,
)
from datacondense.evaluation.protocol import EvaluationConfig, ResolvedProtocol
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet, check_trainable
from datacondense.networks.builder import build_network
from datacondense.networks.features import features_of
from datacondense.networks.names import network_name
from datacondense.networks.network import Network
from datacondense.networks.torch_state import usual_torch
from datacondense.run_folder import RunFolder
from datacondense.selection.forgetting import select_forgetting
from datacondense.selection.herding import select_herding
from datacondense.selection.k_center import select_k_center
from datacondense.selection.random import select_random
from datacondense.settings import check_at_least
from datacondense.tasks.memory import peak_memory
from datacondense.tasks.scheduler import Observer, schedule
from datacondense.tasks.store import FAILURE, Store, Workspace, store_in
from datacondense.tasks.task import TRAINING, Task, graph_of, images_of, recorded_settings
from datacondense.tasks.workers import inline
from datacondense.tensor_files import read_tensors, write_tensors

SelectionMethod: TypeAlias = Literal["random", "herding", "k-center", "forgetting", "forgetting-learned"]

METHODS: tuple[SelectionMethod, ...] = get_args(SelectionMethod)
SELECT_BY_FEATURES: Mapping[str, Callable[[ImageSet, int, Tensor], ImageSet]] = {
    "herding": select_herding,
    "k-center": select_k_center,
}
_FEATURES, _SELECTED = "features.safetensors", "selected.safetensors"  # in the folders of tasks
_CPU = torch.device("cpu")  # selections run here


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How to select images; all methods but random selection use a network trained on the full training set.

    That network is trained by the protocol that scores condensed sets (see `EvaluationConfig`).

    Attributes:
        method: "random"; "herding" (the mean stays close to that of the class) and "k-center" (every image has a
            selected one nearby), which compare features; or "forgetting" (images that the network most often got
            right and then wrong again during training), where images that it never got right come first, or last with
            "forgetting-learned".
        ipc: Images per class.
        seed: Seed of the random selection, or of the network.
        network: Name of the network to train.
        epochs: Passes over the training set.
        augmentation: Augmentation of the training images, as in `evaluate`. Default: the paper's choice for the data
            set.
    """

    method: SelectionMethod
    ipc: int = 1
    seed: int = 0
    network: str = "convnet"
    epochs: int = 30
    augmentation: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}: choose one of {', '.join(METHODS)}.")
        check_at_least(self, 1, "ipc")
        self.protocol(None)

    def protocol(self, dataset: str | None) -> ResolvedProtocol:
        """Return the protocol that trains the network.

        Args:
            dataset: Name of the data set, as in `load`.

        Returns:
            The resolved protocol.

        Raises:
            InputError: A value is invalid for the protocol.
        """
        protocol = EvaluationConfig(
            network=self.network, epochs=self.epochs, augmentation=self.augmentation, seed=self.seed
        )
        return protocol.resolved(**facts_of(dataset)._asdict())


@dataclass(frozen=True, kw_only=True)
class TrainFull(Task):
    """Train one network on all training images and test it; interrupted training goes on after its last checkpoint.

    The result is the accuracy, 0 to 1; None if the data set has no test images. The protocol is that of a condensed
    set, with new orders and augmentations in each epoch.

    Attributes:
        data: The data set.
        protocol: The resolved protocol; its `repeats` is ignored.
        repeat: Number of the network, from 0; with the protocol's seed it determines all random numbers.
    """

    tag: ClassVar[str] = "WholeCell"
    data: DataSource
    protocol: ResolvedProtocol
    repeat: int

    @property
    def label(self) -> str:
        """The network, which determines the time."""
        return f"train {network_name(self.protocol.network)} on the full data set"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train, or continue, and test."""
        splits = self.data.read()
        check_trainable(splits.train)
        training = FullTraining(splits.train.to(workspace.device), self.protocol, self.repeat)
        trained = training.run(self._folder(workspace))
        tested = None if splits.test is None else training.accuracy(trained, splits.test.to(workspace.device))
        return {"accuracy": tested, "environment": training.environment}

    @property
    def length(self) -> float:
        """Batches in all epochs."""
        return self.protocol.epochs * len(self.data.read().train) / self.protocol.batch_size

    def shortened(self, length: int) -> "TrainFull":
        """Train on a few batches."""
        few = replace(self.data, num_images=length * self.protocol.batch_size, content={})
        return replace(
            self, data=identified(few, needs_test=False), protocol=replace(self.protocol, epochs=1)
        )

    def trained(self, workspace: Workspace) -> TrainedNetwork:
        """Return the trained network, its tensors on the workspace's device."""
        return read_network(self._folder(workspace), self.structure(), workspace.device)

    def forgetting(self, workspace: Workspace) -> ForgettingCounts:
        """Return how often each training image was forgotten, on the CPU."""
        return read_counts(self._folder(workspace))

    def structure(self) -> Network:
        """Return the network to train, for the images of the data set."""
        images = self.data.read().train
        return build_network(self.protocol.network, images.image_shape, images.num_classes)

    def _folder(self, workspace: Workspace) -> RunFolder:
        return RunFolder(workspace.folder(self), NETWORK)


@dataclass(frozen=True, kw_only=True)
class ComputeFeatures(Task):
    """Compute the features of all training images with a network from full training.

    Attributes:
        data: The data set.
        trained: The task that trains the network.
    """

    tag: ClassVar[str] = "FeaturesCell"
    data: DataSource = images_of(*TRAINING)
    trained: TrainFull

    @property
    def label(self) -> str:
        """The network, which determines the time."""
        return f"features of {network_name(self.trained.protocol.network)}"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute and save the features."""
        network, parameters, buffers = self.trained.trained(workspace)
        train = self.data.read().train.to(workspace.device)
        rows = features_of(network, parameters, train, buffers).float()
        write_tensors(workspace.folder(self) / _FEATURES, {"features": rows}, {"network": network.name})
        return {"features": rows.shape[1], "environment": environment(workspace.device)}

    def features(self, workspace: Workspace) -> Tensor:
        """Return the features `[N, D]` of the training images, float32 on the CPU."""
        tensors, _ = read_tensors(workspace.folder(self) / _FEATURES)
        return tensors["features"]


@dataclass(frozen=True, kw_only=True)
class Select(Task):
    """Select real images; the result has the fingerprint, the seconds, and the memory in MiB of the selection.

    Attributes:
        method: The method.
        ipc: Images per class.
        data: The data set.
        seed: Seed of a random selection.
        source: What the selection relies on: features for herding and k-center, full training for forgetting.
    """

    tag: ClassVar[str] = "SelectCell"
    method: SelectionMethod
    ipc: int
    data: DataSource = images_of(*TRAINING)
    seed: int = 0
    source: ComputeFeatures | TrainFull | None = None

    @property
    def label(self) -> str:
        """The method, and how many images."""
        return f"select by {self.method}, ipc {self.ipc}"

    @property
    def network(self) -> str | None:
        """None: the set is not condensed."""
        return None

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Select images and save them."""
        train = self.data.read().train
        with peak_memory(_CPU) as memory:
            began = time.perf_counter()
            selected = self._selected(train, workspace)
            seconds = time.perf_counter() - began
        selected.save(workspace.folder(self) / _SELECTED)
        return {"fingerprint": selected.fingerprint, "condensing_seconds": seconds, "memory": memory}

    def shortened(self, length: int) -> "Select":
        """Select at random instead of by forgetting, whose pilot saw a part of the images; both take no time."""
        by_training = isinstance(self.source, TrainFull)
        return replace(self, method="random", source=None) if by_training else self

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return the selected images."""
        return ImageSet.load(workspace.folder(self) / _SELECTED)

    def _selected(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select the images."""
        if isinstance(self.source, ComputeFeatures):
            return SELECT_BY_FEATURES[self.method](train, self.ipc, self.source.features(workspace))
        if self.source is None:
            return select_random(train, self.ipc, self.seed)
        never_learned: Literal["first", "last"] = "last" if self.method == "forgetting-learned" else "first"
        scores = self.source.forgetting(workspace).scores(never_learned)
        selected = select_forgetting(train, self.ipc, scores)
        settings = {**selected.provenance["settings"], "never_learned": never_learned}
        return replace(selected, provenance={**selected.provenance, "settings": settings})


def selection(
    method: SelectionMethod, ipc: int, data: DataSource, seed: int, training: Callable[[], TrainFull]
) -> Select:
    """Return the task of a selection, on what it relies on; the data set is identified."""
    source: ComputeFeatures | TrainFull | None = None
    if method in SELECT_BY_FEATURES:
        source = ComputeFeatures(data=data, trained=training())
    elif method != "random":
        source = training()
    return Select(method=method, ipc=ipc, data=data, seed=seed if source is None else 0, source=source)


@usual_torch()
def select(
    data: DataSource,
    config: SelectionConfig,
    *,
    cache: Path | str | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> ImageSet:
    """Select real images; networks and features are computed once for each data set and network.

    Interrupted training continues where it was.

    Args:
        data: The data set; test images are not needed.
        config: How to select.
        cache: Folder of trained networks and features; None means `cache_folder`.
        device: The device to compute on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The selected images, class by class; their provenance has their indices among the training images as "indices",
        and the protocol of the network as "trained".

    Raises:
        InputError: The data set cannot be read, a class has fewer than `ipc` images, the network does not fit the
            images, or a computation failed.
    """
    task, store = selection_task(data, config), selection_store(cache)
    outcome = schedule([task], store, inline(torch.get_num_threads()), device=device, observer=observer)
    for key, error in outcome.failed.items():
        raise InputError(f"{error.rstrip('.')} ({store.folder(key) / FAILURE} tells more).")
    images = task.image_set(Workspace(store, device))
    if task.source is None:
        return images
    protocol = recorded_settings(config.protocol(data.name))
    trained = {name: value for name, value in protocol.items() if name != "repeats"}
    return replace(images, provenance={**images.provenance, "trained": trained})


def selection_task(data: DataSource, config: SelectionConfig) -> Select:
    """Return the selection task, after a check of what would otherwise fail at its end; raise `InputError` then."""
    source = identified(data, needs_test=False)
    # All selections check classes and `ipc` alike; this one takes no time.
    select_random(source.read().train, config.ipc, config.seed)

    def training() -> TrainFull:
        task = TrainFull(data=source, protocol=config.protocol(data.name), repeat=0)
        task.structure()
        return task

    return selection(config.method, config.ipc, source, config.seed, training)


def training_to_do(task: Select, store: Store) -> TrainFull | None:
    """Return the training that a selection still has to wait for; None if it is finished or not needed."""
    to_do = graph_of([task], store.finished)
    unfinished = (each for key, each in to_do.items() if not store.finished(key))
    return next((each for each in unfinished if isinstance(each, TrainFull)), None)


def selection_store(cache: Path | str | None = None) -> Store:
    """Return the recorded selections in a cache folder; with the folder of a study, both share their common tasks."""
    return store_in(cache_folder() if cache is None else cache)
