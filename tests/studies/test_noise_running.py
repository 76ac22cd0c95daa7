"""From a question about gradient noise to its numbers, on the embedded digits."""

from dataclasses import replace
from pathlib import Path

import pytest

from datacondense.condensation import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies import CellFactory, DataSource, StudyConfig, StudyProgress, WorkersConfig
from datacondense.studies.cell import cell_key
from datacondense.studies.noise_config import NoiseConfig
from datacondense.studies.noise_running import NoiseRun, collect_noise, noise_cells, run_noise
from datacondense.studies.store import Store
from tests.studies.made_cells import MNIST

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


def test_what_is_finished_is_gathered_and_what_fails_is_told(run: NoiseRun, out: Path) -> None:
    assert (len(run.outcome.computed), len(run.outcome.failed), run.outcome.blocked) == (3, 1, ())
    assert "max-pool-1" in next(iter(run.outcome.failed.values()))
    result = run.result
    assert (result.networks, result.variants) == (CONFIG.networks, CONFIG.variants)
    assert list(result.entries) == [
        ("convnet-w4-d1", "none"),
        ("convnet-w4-d1", "max-pool-1"),
        ("mlp", "none"),
    ]
    cells = noise_cells(DIGITS, CONFIG)
    for arm, entry in result.entries.items():
        recorded = Store(out / "cells").record(cell_key(cells[arm]))["result"]
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
        arm: entry for arm, entry in run.result.entries.items() if arm[1] == "none"
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
    config = replace(CONFIG, draws=7, seed=3, method=method)
    cells = noise_cells(MNIST, config)
    assert list(cells) == [(network, variant) for network in CONFIG.networks for variant in CONFIG.variants]
    studied = CellFactory(data=MNIST, config=StudyConfig(draws=7, method=method))
    for (network, variant), cell in cells.items():
        (learned,) = cell.inputs
        assert cell_key(learned) == cell_key(studied.condensed(network=network)(3))
        assert cell.seed == 3
        assert cell.method.transform == (() if variant == "none" else (variant,))
        assert cell.method.precision in {"float32", "bfloat16"}
    assert collect_noise(cells, Store(tmp_path)).entries == {}


def test_all_run_on_learned_images(tmp_path: Path) -> None:
    config = replace(CONFIG, networks=("convnet-w4-d1",), draws=1)
    found = run_noise(DIGITS, config, tmp_path, workers=INLINE)
    assert (len(found.outcome.computed), dict(found.outcome.failed)) == (3, {})
    assert len(found.result.entries) == 2
    assert len(found.result.environments) == 1


def test_an_unknown_network_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="There is no network 'covnet'"):
        noise_cells(MNIST, replace(CONFIG, networks=("covnet",)))
