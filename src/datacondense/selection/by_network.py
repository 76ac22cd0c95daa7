"""Selection of real images by a network; trained networks and features are kept for the next selection."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from datacondense.cache import cache_folder
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.evaluation.full_training import load_network
from datacondense.evaluation.protocol import EvaluationConfig, ResolvedProtocol
from datacondense.evaluation.soft_labels import check_temperature, soft_labelled
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet
from datacondense.networks.torch_state import usual_torch
from datacondense.selection.by_class import Ipc, select_tiled
from datacondense.selection.forgetting import select_forgetting
from datacondense.selection.full_tasks import ComputeFeatures, TrainFull
from datacondense.selection.herding import select_herding
from datacondense.selection.k_center import select_k_center
from datacondense.selection.random import select_random
from datacondense.selection.rded import select_rded
from datacondense.settings import IpcOf, check_at_least
from datacondense.tasks.memory import peak_memory
from datacondense.tasks.scheduler import Observer, schedule
from datacondense.tasks.store import FAILURE, Store, Workspace, store_in
from datacondense.tasks.task import TRAINING, Task, graph_of, images_of, recorded_settings
from datacondense.tasks.workers import inline

SelectionMethod: TypeAlias = Literal[
    "random", "herding", "k-center", "forgetting", "forgetting-learned", "rded"
]

METHODS: tuple[SelectionMethod, ...] = get_args(SelectionMethod)
SELECT_BY_FEATURES: Mapping[str, Callable[[ImageSet, Ipc, Tensor], ImageSet]] = {
    "herding": select_herding,
    "k-center": select_k_center,
}
NETWORK_FILE = ".safetensors"
_SELECTED = "selected.safetensors"  # in the folder of a task
_CPU = torch.device("cpu")  # selections run here


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How to select images; all methods but random selection use a network trained on the full training set.

    That network is trained by the protocol that scores condensed sets (see `EvaluationConfig`).

    Attributes:
        method: "random"; "herding" (the mean stays close to that of the class) and "k-center" (every image has a
            selected one nearby), which compare features; "forgetting" (images that the network most often got
            right and then wrong again during training), where images that it never got right come first, or last with
            "forgetting-learned"; or "rded" (crops of which the network is surest).
        ipc: Images per class.
        ipc_of: Other numbers of images for some classes, by their names: CLASS=N,CLASS=N, in Python a mapping.
        factor: Tiles a side of each stored image, f: it holds f² selected images, shrunk.
        soft_labels: Teacher that labels every image with a distribution over the classes: the name of a network,
            trained like the other one, or a file network.safetensors. Default: none; images have their class.
        temperature: T of those labels, softmax(logits / T), and of training on them.
        seed: Seed of the random selection, or of the network.
        network: Name of the network to train.
        epochs: Passes over the training set.
        augmentation: Augmentation of the training images, as in `evaluate`. Default: the paper's choice for the data
            set.
    """

    method: SelectionMethod
    ipc: int = 1
    ipc_of: IpcOf = None
    factor: int = 1
    soft_labels: str | None = None
    temperature: float = 1.0
    seed: int = 0
    network: str = "convnet"
    epochs: int = 30
    augmentation: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}: choose one of {', '.join(METHODS)}.")
        check_at_least(self, 1, "ipc", "factor")
        check_temperature(self.temperature)
        self.protocol(None)
        self.protocol(None, self.teacher)

    @property
    def teacher(self) -> str | None:
        """The network to train as a teacher; None where there is none, or a file of one."""
        return None if (self.soft_labels or "").endswith(NETWORK_FILE) else self.soft_labels

    def protocol(self, dataset: str | None, network: str | None = None) -> ResolvedProtocol:
        """Return the protocol that trains the network.

        Args:
            dataset: Name of the data set, as in `load`.
            network: Another network than the selection relies on, such as the teacher.

        Returns:
            The resolved protocol.

        Raises:
            InputError: A value is invalid for the protocol.
        """
        protocol = EvaluationConfig(
            network=network or self.network,
            epochs=self.epochs,
            augmentation=self.augmentation,
            seed=self.seed,
        )
        return protocol.resolved(**facts_of(dataset)._asdict())


@dataclass(frozen=True, kw_only=True)
class Select(Task):
    """Select real images; the result has the fingerprint, the seconds, and the memory in MiB of the selection.

    Attributes:
        method: The method.
        ipc: Images per class.
        data: The data set.
        seed: Seed of a random selection.
        source: What the selection relies on: features for herding and k-center, full training for forgetting and RDED.
        ipc_of: Other numbers of images for some classes.
        factor: Tiles a side of each stored image.
        teacher: Full training whose network labels the images; None for class numbers.
        temperature: T of those labels.
    """

    tag: ClassVar[str] = "SelectCell"
    method: SelectionMethod
    ipc: int
    data: DataSource = images_of(*TRAINING)
    seed: int = 0
    source: ComputeFeatures | TrainFull | None = None
    ipc_of: IpcOf = None
    factor: int = 1
    teacher: TrainFull | None = None
    temperature: float = 1.0

    @property
    def label(self) -> str:
        """The method, and how many images."""
        factor = "" if self.factor == 1 else f", factor {self.factor}"
        return f"select by {self.method}, ipc {self.ipc}{factor}"

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
        by_training = isinstance(self.source or self.teacher, TrainFull)
        return replace(self, method="random", source=None, teacher=None) if by_training else self

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return the selected images."""
        return ImageSet.load(workspace.folder(self) / _SELECTED)

    def _selected(self, train: ImageSet, workspace: Workspace) -> ImageSet:
        """Select the images, lay them into tiles, and label them."""
        choose = partial(self._of_full_size, train, workspace)
        selected = select_tiled(train, self.ipc, self.ipc_of, self.factor, choose)
        if self.teacher is None:
            return selected
        return soft_labelled(selected, self.teacher.trained(workspace), temperature=self.temperature)

    def _of_full_size(self, train: ImageSet, workspace: Workspace, ipc: Ipc) -> ImageSet:
        """Select images, or crops of images."""
        if isinstance(self.source, ComputeFeatures):
            return SELECT_BY_FEATURES[self.method](train, ipc, self.source.features(workspace))
        if self.source is None:
            return select_random(train, ipc, self.seed)
        if self.method == "rded":
            return select_rded(train, ipc, self.source.trained(workspace), self.seed)
        never_learned: Literal["first", "last"] = "last" if self.method == "forgetting-learned" else "first"
        scores = self.source.forgetting(workspace).scores(never_learned)
        selected = select_forgetting(train, ipc, scores)
        settings = {**selected.provenance["settings"], "never_learned": never_learned}
        return replace(selected, provenance={**selected.provenance, "settings": settings})


def selection(
    method: SelectionMethod,
    ipc: int,
    data: DataSource,
    seed: int,
    training: Callable[[], TrainFull],
    **options: Any,
) -> Select:
    """Return the task of a selection, on what it relies on; the data set is identified."""
    source: ComputeFeatures | TrainFull | None = None
    if method in SELECT_BY_FEATURES:
        source = ComputeFeatures(data=data, trained=training())
    elif method != "random":
        source = training()
    drawn = seed if source is None or method == "rded" else 0
    return Select(method=method, ipc=ipc, data=data, seed=drawn, source=source, **options)


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
    # A file is read before anything is computed.
    teacher = None if config.soft_labels is None or config.teacher else load_network(config.soft_labels)
    finished(task, store, device, observer)
    images = task.image_set(Workspace(store, device))

    def trained(network: str | None = None) -> dict[str, Any]:
        protocol = recorded_settings(config.protocol(data.name, network))
        return {"trained": {name: value for name, value in protocol.items() if name != "repeats"}}

    record = dict(images.provenance)
    if task.source is not None:
        record |= trained()
    if task.teacher is not None:
        record["soft_labels"] = record["soft_labels"] | trained(config.teacher)
    images = replace(images, provenance=record)
    return images if teacher is None else soft_labelled(images, teacher, temperature=config.temperature)


def finished(task: Task, store: Store, device: str, observer: Observer | None) -> None:
    """Run a task and what it needs in this process, as far as it is not recorded."""
    outcome = schedule([task], store, inline(torch.get_num_threads()), device=device, observer=observer)
    for key, error in outcome.failed.items():
        raise InputError(f"{error.rstrip('.')} ({store.folder(key) / FAILURE} tells more).")


def selection_task(data: DataSource, config: SelectionConfig) -> Select:
    """Return the selection task, after a check of what would otherwise fail at its end; raise `InputError` then."""
    source = identified(data, needs_test=False)
    # All selections check classes and `ipc` alike; this one takes no time.
    train = source.read().train
    select_tiled(
        train, config.ipc, config.ipc_of, config.factor, lambda ipc: select_random(train, ipc, config.seed)
    )

    def training(network: str | None = None) -> TrainFull:
        task = TrainFull(data=source, protocol=config.protocol(data.name, network), repeat=0)
        task.structure()
        return task

    return selection(
        config.method,
        config.ipc,
        source,
        config.seed,
        training,
        ipc_of=config.ipc_of,
        factor=config.factor,
        teacher=training(config.teacher) if config.teacher else None,
        temperature=config.temperature if config.teacher else 1.0,
    )


def training_to_do(task: Select, store: Store) -> TrainFull | None:
    """Return the training that a selection still has to wait for; None if it is finished or not needed."""
    to_do = graph_of([task], store.finished)
    unfinished = (each for key, each in to_do.items() if not store.finished(key))
    return next((each for each in unfinished if isinstance(each, TrainFull)), None)


def selection_store(cache: Path | str | None = None) -> Store:
    """Return the recorded selections in a cache folder; with the folder of a study, both share their common tasks."""
    return store_in(cache_folder() if cache is None else cache)
