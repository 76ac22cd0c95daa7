"""Gradient noise from settings to numbers, on the embedded digits."""

from dataclasses import replace
from pathlib import Path

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.factory import TaskFactory
from datacondense.studies.noise_config import NoiseConfig
from datacondense.studies.noise_running import NoiseRun, collect_noise, noise_tasks, run_noise
from datacondense.studies.runner import StudyProgress
from datacondense.studies.store import Store
from datacondense.studies.task import task_key
from datacondense.studies.workers import WorkersConfig
from tests.studies.made_tasks import MNIST

INLINE = WorkersConfig(backend="inline", threads=1)
METHOD = GradientMatchingConfig(real_batch=4, precision="float32", engine="eager")
CONFIG = NoiseConfig(
    networks=("convnet-w4-d1", "mlp"),
    variants=("none", "max-pool-1"),
    num_networks=3,
    num_batches=2,
    method=METHOD,
)
DIGITS = DataSource(name="digits")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noise")


@pytest.fixture(scope="module")
def run(out: Path) -> NoiseRun:
    return run_noise(DIGITS, CONFIG, out, workers=INLINE)


def test_finished_tasks_are_collected_and_failed_ones_reported(run: NoiseRun, out: Path) -> None:
    assert (len(run.outcome.computed), len(run.outcome.failed), run.outcome.blocked) == (3, 1, ())
    assert "max-pool-1" in next(iter(run.outcome.failed.values()))
    result = run.result
    assert (result.networks, result.variants) == (CONFIG.networks, CONFIG.variants)
    assert list(result.entries) == [
        ("convnet-w4-d1", "none"),
        ("convnet-w4-d1", "max-pool-1"),
        ("mlp", "none"),
    ]
    tasks = noise_tasks(DIGITS, CONFIG)
    for variant, entry in result.entries.items():
        recorded = Store(out / "cells").record(task_key(tasks[variant]))["result"]
        assert entry.all_classes is not None
        assert entry.all_classes.network.share == recorded["all_classes"]["network"]["share"]
        assert [name for name, _ in entry.classes] == list(map(str, range(10)))
        assert entry.classes[7][1] is not None
        assert (
            entry.classes[7][1].data.squared_length
            == recorded["classes"][7]["parts"]["data"]["squared_length"]
        )
        assert entry.all_classes.data.interval is None, "two batches give none"
    assert [environment["engine"] for environment in result.environments] == ["eager"]


def test_a_second_run_computes_nothing_and_more_batches_do(run: NoiseRun, out: Path) -> None:
    seen: list[StudyProgress] = []
    finished = replace(CONFIG, variants=("none",))
    again = run_noise(DIGITS, finished, out, workers=INLINE, observer=seen.append)
    assert (again.outcome.computed, len(again.outcome.reused), dict(again.outcome.failed)) == ((), 2, {})
    assert again.result.entries == {
        variant: entry for variant, entry in run.result.entries.items() if variant[1] == "none"
    }
    assert seen
    more = run_noise(DIGITS, replace(finished, networks=("mlp",), num_batches=3), out, workers=INLINE)
    assert len(more.outcome.computed) == 1
    found = more.result.entries["mlp", "none"].all_classes
    assert found is not None
    assert isinstance(found.data.interval, tuple)
    assert found.data.interval[0] < found.data.share < found.data.interval[1]


def test_learned_images_are_those_of_plain_matching_in_studies(tmp_path: Path) -> None:
    method = replace(METHOD, precision="auto")
    config = replace(CONFIG, iterations=7, seed=3, method=method)
    tasks = noise_tasks(MNIST, config)
    assert list(tasks) == [(network, variant) for network in CONFIG.networks for variant in CONFIG.variants]
    studied = TaskFactory(data=MNIST, config=StudyConfig(iterations=7, method=method))
    for (network, variant), task in tasks.items():
        (learned,) = task.inputs
        assert task_key(learned) == task_key(studied.condensed(network=network)(3))
        assert task.seed == 3
        assert task.method.transform == (() if variant == "none" else (variant,))
        assert task.method.precision in {"float32", "bfloat16"}
    assert collect_noise(tasks, Store(tmp_path)).entries == {}


def test_all_run_on_learned_images(tmp_path: Path) -> None:
    config = replace(CONFIG, networks=("convnet-w4-d1",), iterations=1)
    found = run_noise(DIGITS, config, tmp_path, workers=INLINE)
    assert (len(found.outcome.computed), dict(found.outcome.failed)) == (3, {})
    assert len(found.result.entries) == 2
    assert len(found.result.environments) == 1


def test_an_unknown_network_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="There is no network 'covnet'"):
        noise_tasks(MNIST, replace(CONFIG, networks=("covnet",)))
