"""Gradient noise from settings to numbers, on the embedded digits."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.noise import NoiseConfig, NoiseResult, collect_noise, noise_tasks, run_noise
from datacondense.studies.running import Run
from datacondense.tasks.scheduler import StudyProgress
from datacondense.tasks.store import Store
from datacondense.tasks.task import inputs_of
from datacondense.tasks.workers import WorkersConfig
from tests.tasks.made_tasks import MNIST

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
def run(out: Path) -> Run[NoiseResult]:
    return run_noise(DIGITS, CONFIG, out, workers=INLINE)


def test_finished_tasks_are_collected_and_failed_ones_reported(run: Run[NoiseResult], out: Path) -> None:
    assert (len(run.outcome.computed), len(run.outcome.failed), run.outcome.blocked) == (3, 1, ())
    assert "max-pool-1" in next(iter(run.outcome.failed.values()))
    result = run.result
    assert (result.networks, result.variants) == (CONFIG.networks, CONFIG.variants)
    frame = result.frame.set_index(["network", "variant", "class", "part"])
    finished = [("convnet-w4-d1", "none"), ("convnet-w4-d1", "max-pool-1"), ("mlp", "none")]
    assert list(dict.fromkeys(index[:2] for index in frame.index)) == finished
    assert len(frame) == 3 * (1 + 10) * 4
    tasks = noise_tasks(DIGITS, CONFIG)
    frame = frame.sort_index()
    for variant in finished:
        recorded = Store(out / "cells").record(tasks[variant].key)["result"]
        found = frame.loc[variant]
        assert found.share["", "network"] == recorded["all_classes"]["network"]["share"]
        seventh = recorded["classes"][7]["parts"]["data"]["squared_length"]
        assert found.squared_length["7", "data"] == seventh
    assert frame["low"].isna().all(), "two batches give no interval"
    assert [environment["engine"] for environment in result.environments] == ["eager"]


def test_a_second_run_computes_nothing_and_more_batches_do(run: Run[NoiseResult], out: Path) -> None:
    seen: list[StudyProgress] = []
    finished = replace(CONFIG, variants=("none",))
    again = run_noise(DIGITS, finished, out, workers=INLINE, observer=seen.append)
    assert (again.outcome.computed, len(again.outcome.reused), dict(again.outcome.failed)) == ((), 2, {})
    first = run.result.frame
    pd.testing.assert_frame_equal(
        again.result.frame, first[first.variant == "none"].reset_index(drop=True), check_dtype=False
    )
    assert seen
    more = run_noise(DIGITS, replace(finished, networks=("mlp",), num_batches=3), out, workers=INLINE)
    assert len(more.outcome.computed) == 1
    found = more.result.frame.iloc[0]
    assert (found["class"], found.part) == ("", "data")
    assert found.low < found.share < found.high


def test_learned_images_are_those_of_plain_matching_in_studies(tmp_path: Path) -> None:
    method = replace(METHOD, precision="auto")
    config = replace(CONFIG, iterations=7, seed=3, method=method)
    tasks = noise_tasks(MNIST, config)
    assert list(tasks) == [(network, variant) for network in CONFIG.networks for variant in CONFIG.variants]
    studied = TaskFactory(data=MNIST, config=StudyConfig(iterations=7, method=method))
    for (network, variant), task in tasks.items():
        (learned,) = inputs_of(task)
        assert learned.key == studied.condensed(network=network)(3).key
        assert task.seed == 3
        assert task.method.transform == (() if variant == "none" else (variant,))
        assert task.method.precision in {"float32", "bfloat16"}
    assert collect_noise(tasks, Store(tmp_path)).frame.empty


def test_all_run_on_learned_images(tmp_path: Path) -> None:
    config = replace(CONFIG, networks=("convnet-w4-d1",), iterations=1)
    found = run_noise(DIGITS, config, tmp_path, workers=INLINE)
    assert (len(found.outcome.computed), dict(found.outcome.failed)) == (3, {})
    assert len(found.result.frame) == 2 * (1 + 10) * 4
    assert len(found.result.environments) == 1


def test_an_unknown_network_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="There is no network 'covnet'"):
        noise_tasks(MNIST, replace(CONFIG, networks=("covnet",)))
