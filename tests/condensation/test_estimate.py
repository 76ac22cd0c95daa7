"""What a run would cost, beside what it costs."""

import time
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from datacondense.condensation.distribution_matching import DistributionMatching, DistributionMatchingConfig
from datacondense.condensation.estimate import estimate_run
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.state import Step
from datacondense.data.sources import load


def test_time_is_that_of_the_steps_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, took = DistributionMatching.step, list[float]()

    def slow(self: Any, state: Any, step: Step) -> Any:
        began = time.monotonic()
        time.sleep(0.3 if step == (0, 0) else 0.0)
        found = usual(self, state, step)
        took.append(time.monotonic() - began)
        return found

    monkeypatch.setattr(DistributionMatching, "step", slow)
    method = DistributionMatchingConfig(network="convnet-w8-d2", real_batch=8)
    train = load("digits").train
    found = estimate_run(train, method, RunConfig(iterations=1000))
    assert found.seconds_each == pytest.approx(fmean(took[1:]), rel=0.05)
    assert found.seconds == pytest.approx(1000 * found.seconds_each)
    assert estimate_run(train, method, RunConfig(iterations=10**6, time_limit="9s")).seconds == 9


def test_disk_bounds_what_a_run_writes(tmp_path: Path) -> None:
    method = GradientMatchingConfig(ipc=10, network="convnet-w8-d2", real_batch=8, network_epochs=1)
    train, run = load("digits").train, RunConfig(iterations=2, checkpoint_every=0)
    found = estimate_run(train, method, run)
    condense(train, method, run, directory=tmp_path / "run")
    written = sum(path.stat().st_size for path in (tmp_path / "run").iterdir())
    log = (tmp_path / "run" / "metrics.jsonl").stat().st_size
    longer = estimate_run(train, method, RunConfig(iterations=4)).disk - found.disk
    assert log < longer < 2 * log
    assert written / 4 < found.disk
    assert written < found.disk + 10_000  # settings and provenance
    assert found.memory > 50
    assert found.device_memory is None
