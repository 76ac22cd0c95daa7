"""Gradient noise: how much of the pixel gradient is common to random networks and batches, and how much is not."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import nan, prod
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from datacondense.condensation.gradient_matching import GradientMatching, GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from datacondense.matching.decomposition import Decomposition, decompose
from datacondense.matching.transforms import parse_transform
from datacondense.settings import check_at_least, images_per_class
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.running import Run, run_recorded
from datacondense.studies.tasks import Condense
from datacondense.tasks.scheduler import Observer
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import TRAINING, Task, images_of, inputs_of
from datacondense.tasks.workers import WorkersConfig
from datacondense.user_code import name_of

PARTS = tuple(part.name for part in fields(Decomposition))
PLAIN = "none"  # the variant without any change
COLLECTIVE = "class-collective"  # the part of a variant that is not a transform
COLUMNS = ("network", "variant", "class", "part", "squared_length", "share", "low", "high")
_MAX_NUMBERS = 2**30  # of all gradients together: 4 GiB

Variant: TypeAlias = tuple[str, str]  # network and variant, as the user wrote them


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Which gradients to measure, on how many networks and batches.

    Attributes:
        networks: Architectures.
        variants: Gradient transforms, each measured with each architecture: "none", or names joined by "+" as in
            max-pool-1+keep-magnitude:0.1; "class-collective" means --class-collective.
        num_networks: Random networks of each architecture, R; use 8 or more for useful intervals.
        num_batches: Real batches, D, of `real_batch` images per class; each network sees each of them.
        iterations: If above 0, measure at the images that plain matching with the same architecture has learned after
            this many iterations, not at its initial images.
        seed: Seed of all random numbers, from 0.
        method: Settings that all gradients share.
    """

    networks: tuple[str, ...] = ("convnet",)
    variants: tuple[str, ...] = (PLAIN,)
    num_networks: int = 16
    num_batches: int = 8
    iterations: int = 0
    seed: int = 0
    method: GradientMatchingConfig = field(default_factory=GradientMatchingConfig)

    def __post_init__(self) -> None:
        check_at_least(self, 2, "num_networks", "num_batches")
        check_at_least(self, 0, "iterations", "seed")
        _check_labels("networks", self.networks)
        _check_labels("variants", self.variants)
        for variant in self.variants:
            variant_settings(variant)
        if self.method.class_collective:
            raise InputError(
                f"class_collective is set, but variants are measured side by side: give --variants {COLLECTIVE}."
            )
        if self.method.transform:
            names = [name_of(transform) for transform in self.method.transform]
            raise InputError(
                f"transform is {', '.join(names)}, but transforms are measured side by side: give --variants "
                f"{'+'.join(names)}."
            )
        if self.method.network != GradientMatchingConfig.network:
            raise InputError(
                f"network is {self.method.network!r}, but networks are measured side by side: give --networks "
                f"{self.method.network}."
            )


def variant_settings(variant: str) -> dict[str, Any]:
    """Return the settings of a variant: its transforms in order, and whether matching is class-collective."""
    names = () if variant == PLAIN else tuple(variant.split("+"))
    transforms = tuple(name for name in names if name != COLLECTIVE)
    for name in transforms:
        parse_transform(name)
    return {"transform": transforms, "class_collective": COLLECTIVE in names}


@dataclass(frozen=True, kw_only=True)
class MeasureNoise(Task):
    """Compute the pixel gradients of random networks on real batches, and split their squared length.

    The result has the decompositions for all classes together and for each, None where the gradient is zero.

    Attributes:
        data: The data set.
        method: Resolved settings of the method.
        seed: Seed of all random numbers.
        num_networks: Random networks, R.
        num_batches: Real batches, D; each network sees each of them.
        at: The task that condenses the images at which gradients are computed; None means the method's initial images.
    """

    tag: ClassVar[str] = "NoiseCell"
    data: DataSource = images_of(*TRAINING)
    method: GradientMatchingConfig
    seed: int
    num_networks: int
    num_batches: int
    at: Condense | None = None

    @property
    def label(self) -> str:
        """The network, and whatever else determines the time."""
        untrained = replace(self.method, matching_steps=1)  # a probe does not train between steps
        return f"probe {untrained.kind}: {self.num_networks} networks, {self.num_batches} batches"

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute all gradients and split their squared length."""
        train = self.data.read().train
        check_trainable(train)
        self._check_memory(train)
        method = self.method.build(train.to(workspace.device), self.seed)
        assert isinstance(method, GradientMatching)
        images = method.init().images
        if self.at is not None:
            learned = self.at.image_set(workspace)
            for label, members in enumerate(learned.class_indices):
                images[label, : len(members)] = learned.normalised(members).to(images)
        began = time.perf_counter()
        gradients = torch.empty(self.num_networks, self.num_batches, *images.shape, dtype=images.dtype)
        for network in range(self.num_networks):
            for batch in range(self.num_batches):
                gradients[network, batch] = method.probe(images, network=network, batch=batch)
        seconds = time.perf_counter() - began
        return {
            "all_classes": _split(gradients),
            "classes": [
                {"name": name, "parts": _split(gradients[:, :, label])}
                for label, name in enumerate(train.class_names)
            ],
            "gradient_seconds": seconds,
            "environment": {**environment(workspace.device), **method.backend._asdict()},
        }

    def shortened(self, length: int) -> "MeasureNoise":
        """Compute few gradients."""
        return replace(self, num_networks=2, num_batches=2)

    def _check_memory(self, train: ImageSet) -> None:
        """Refuse gradients that do not fit into memory together."""
        ipc = max(images_per_class(self.method.ipc, self.method.ipc_of, train.class_names))
        number = prod((self.num_networks, self.num_batches, train.num_classes, ipc, *train.image_shape))
        if number > _MAX_NUMBERS:
            raise InputError(
                f"{self.num_networks} networks × {self.num_batches} batches of gradients for {ipc} images of each "
                f"class are {number:,} numbers, but at most {_MAX_NUMBERS:,} fit: reduce --num-networks, --num-batches "
                "or --ipc."
            )


@dataclass(frozen=True, kw_only=True)
class NoiseResult:
    """The numbers of a measurement.

    Attributes:
        networks: Architectures, in the order of the table.
        variants: Transforms, likewise.
        frame: Four lines for each gradient of the finished tasks, with `COLUMNS`: `class` is empty for all classes
            together; shares and the ends of their intervals are fractions, NaN where unknown or the gradient is zero.
        environments: The environments in which they were computed, each once.
    """

    networks: tuple[str, ...]
    variants: tuple[str, ...]
    frame: pd.DataFrame
    environments: Sequence[Mapping[str, Any]]

    @property
    def rows(self) -> list[Variant]:
        """Network and variant of each row, network by network, finished or not."""
        return [(network, variant) for network in self.networks for variant in self.variants]


def noise_tasks(data: DataSource, config: NoiseConfig) -> dict[Variant, MeasureNoise]:
    """Return the task of each network and variant, network by network."""
    source, tasks = data if data.content else identified(data), {}
    for network in config.networks:
        # Plain matching exactly as studies declare it, so that they share its tasks.
        settings = StudyConfig(
            iterations=max(1, config.iterations), method=replace(config.method, network=network)
        )
        learned = TaskFactory(data=source, config=settings).condensed()(config.seed)
        assert isinstance(learned, Condense)
        assert isinstance(learned.method, GradientMatchingConfig)
        for variant in config.variants:
            tasks[network, variant] = MeasureNoise(
                data=source,
                method=replace(learned.method, **variant_settings(variant)),
                seed=config.seed,
                num_networks=config.num_networks,
                num_batches=config.num_batches,
                at=learned if config.iterations else None,
            )
    return tasks


def run_noise(
    data: DataSource,
    config: NoiseConfig,
    out: Path | str,
    *,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Run[NoiseResult]:
    """Run the tasks that are not finished, and collect all numbers.

    Args:
        data: The data set.
        config: What to measure.
        out: Output folder; records are in OUT/cells, and studies may share it.
        workers: How many tasks run at once, and where; None means as many processes as cores.
        device: The device that each task computes on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The numbers, and what was done.

    Raises:
        InputError: There is no such network, the data set cannot be read, the cluster cannot be reached, or the folder
            cannot be written.
    """
    tasks = noise_tasks(data, config)
    store, outcome = run_recorded(tasks.values(), out, workers, device, observer)
    return Run(collect_noise(tasks, store), outcome)


def collect_noise(tasks: Mapping[Variant, MeasureNoise], store: Store) -> NoiseResult:
    """Return the numbers of the finished tasks of a measurement."""
    lines: list[dict[str, Any]] = []
    environments: dict[str, Mapping[str, Any]] = {}
    for variant, task in tasks.items():
        if store.finished(task.key):
            lines += noise_lines(variant, store.record(task.key)["result"])
            for one in (task, *inputs_of(task)):
                used = store.record(one.key)["result"]["environment"]
                environments[repr(sorted(used.items()))] = used
    return NoiseResult(
        networks=tuple(dict.fromkeys(network for network, _ in tasks)),
        variants=tuple(dict.fromkeys(variant for _, variant in tasks)),
        frame=pd.DataFrame(lines, columns=COLUMNS),
        environments=[environments[name] for name in sorted(environments)],
    )


def noise_lines(variant: Variant, result: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the lines of the frame for one task: all classes together, then class by class."""
    every = [("", result["all_classes"]), *((one["name"], one["parts"]) for one in result["classes"])]
    for name, parts in every:
        for part in PARTS:
            found = (parts or {}).get(part, {})
            low, high = found.get("interval") or (nan, nan)
            numbers = (found.get("squared_length", nan), found.get("share", nan), low, high)
            yield dict(zip(COLUMNS, (*variant, name, part, *numbers), strict=True))


def _split(gradients: Tensor) -> dict[str, Any] | None:
    """Decompose gradients `[R, D, ...]`; None if a transform has set all of them to zero."""
    return asdict(decompose(gradients)) if bool(gradients.any()) else None


def _check_labels(name: str, labels: Sequence[str]) -> None:
    """Check that labels are given, each once."""
    if not labels:
        raise InputError(f"{name} is empty: give at least one.")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError(f"{name} has {twice[0]!r} twice: give each once.")
