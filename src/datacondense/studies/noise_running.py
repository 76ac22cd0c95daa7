"""Gradient noise from settings to numbers: declare the tasks, run them, read their records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.matching.decomposition import Component, Decomposition
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.factory import TaskFactory
from datacondense.studies.noise import MeasureNoise
from datacondense.studies.noise_config import NoiseConfig, variant_settings
from datacondense.studies.runner import Outcome, StudyProgress
from datacondense.studies.running import run_recorded
from datacondense.studies.store import Store
from datacondense.studies.task import Task, task_key
from datacondense.studies.tasks import Condense
from datacondense.studies.workers import WorkersConfig

PARTS = tuple(part.name for part in fields(Decomposition))

Variant: TypeAlias = tuple[str, str]  # network and variant, as the user wrote them


class NoiseEntry(NamedTuple):
    """The numbers of one network and one variant.

    Attributes:
        all_classes: The parts of the gradient of all images; None if the gradient is zero.
        classes: For each class its name and the parts of the gradient of its images, likewise.
    """

    all_classes: Decomposition | None
    classes: tuple[tuple[str, Decomposition | None], ...]


@dataclass(frozen=True, kw_only=True)
class NoiseResult:
    """The numbers of a measurement.

    Attributes:
        networks: Architectures, in the order of the table.
        variants: Transforms, likewise.
        entries: The numbers of the finished tasks.
        environments: The environments in which they were computed, each once.
    """

    networks: tuple[str, ...]
    variants: tuple[str, ...]
    entries: Mapping[Variant, NoiseEntry]
    environments: Sequence[Mapping[str, Any]]

    @property
    def rows(self) -> list[Variant]:
        """Network and variant of each row, network by network, finished or not."""
        return [(network, variant) for network in self.networks for variant in self.variants]


class NoiseRun(NamedTuple):
    """A finished measurement.

    Attributes:
        result: Its numbers.
        outcome: Which tasks were reused, computed or failed.
    """

    result: NoiseResult
    outcome: Outcome


def noise_tasks(data: DataSource, config: NoiseConfig) -> dict[Variant, MeasureNoise]:
    """Declare the tasks of a measurement.

    Args:
        data: The data set; it is read.
        config: What to measure.

    Returns:
        The task of each network and variant, network by network.

    Raises:
        InputError: There is no such network, or the data set cannot be read.
    """
    source = data if data.content else identified(data)
    tasks = {}
    for network in config.networks:
        learned = _learned(source, config, network)
        method = learned.method
        assert isinstance(method, GradientMatchingConfig)
        for variant in config.variants:
            tasks[network, variant] = MeasureNoise(
                data=source,
                method=replace(method, **variant_settings(variant)),
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
    observer: Callable[[StudyProgress], None] | None = None,
) -> NoiseRun:
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
    return NoiseRun(collect_noise(tasks, store), outcome)


def collect_noise(tasks: Mapping[Variant, MeasureNoise], store: Store) -> NoiseResult:
    """Read the records of a measurement.

    Args:
        tasks: What `noise_tasks` returns.
        store: The records.

    Returns:
        The numbers of the finished tasks.
    """
    entries: dict[Variant, NoiseEntry] = {}
    environments: dict[str, Mapping[str, Any]] = {}
    for variant, task in tasks.items():
        if store.finished(task_key(task)):
            entries[variant] = read_entry(store.record(task_key(task))["result"])
            for environment in _environments(task, store):
                environments[repr(sorted(environment.items()))] = environment
    return NoiseResult(
        networks=tuple(dict.fromkeys(network for network, _ in tasks)),
        variants=tuple(dict.fromkeys(variant for _, variant in tasks)),
        entries=entries,
        environments=[environments[name] for name in sorted(environments)],
    )


def _learned(source: DataSource, config: NoiseConfig, network: str) -> Condense:
    """Declare plain matching exactly as studies do, so that they share its tasks."""
    method = replace(config.method, network=network)
    factory = TaskFactory(
        data=source, config=StudyConfig(iterations=max(1, config.iterations), method=method)
    )
    task = factory.condensed()(config.seed)
    assert isinstance(task, Condense)
    return task


def _environments(task: Task, store: Store) -> list[Mapping[str, Any]]:
    """Return the environments of a finished task and of the images that it used."""
    return [
        store.record(task_key(one))["result"]["environment"]
        for one in (task, *task.inputs)
        if store.finished(task_key(one))
    ]


def read_entry(result: Mapping[str, Any]) -> NoiseEntry:
    """Read the result of a task.

    Args:
        result: Plain JSON values with "all_classes" and "classes".

    Returns:
        The numbers.
    """
    return NoiseEntry(
        _decomposition(result["all_classes"]),
        tuple((one["name"], _decomposition(one["parts"])) for one in result["classes"]),
    )


def _decomposition(values: Mapping[str, Mapping[str, Any]] | None) -> Decomposition | None:
    """Read a decomposition; intervals are lists in JSON."""
    if values is None:
        return None
    return Decomposition(**{
        name: Component(
            squared_length=part["squared_length"],
            share=part["share"],
            interval=None if part["interval"] is None else tuple(part["interval"]),
        )
        for name, part in values.items()
    })
