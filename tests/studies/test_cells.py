"""The shared cells on the embedded digits: what they record, and that a stopped one goes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.condensation import GradientMatchingConfig, Progress, RunDirectory, condense
from datacondense.evaluation import EvaluationConfig, computation, evaluate
from datacondense.image_set import ImageSet
from datacondense.selection import select_random
from datacondense.studies import cells as studies_cells
from datacondense.studies.cell import cell_key
from datacondense.studies.cells import CondenseCell, EvaluateCell
from datacondense.studies.chosen import RandomCell
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.runner import RunPlace, run_cell, run_cells
from datacondense.studies.store import Store
from tests.studies.made_cells import INLINE

METHOD = GradientMatchingConfig(network="convnet-w4-d1", matching_steps=2, real_batch=8).resolved()
RECIPE = EvaluationConfig(network="convnet-w4-d1", epochs=3, repeats=3).resolved(None, "digits")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


@pytest.fixture
def place(tmp_path: Path) -> RunPlace:
    return RunPlace(Store(tmp_path), "cpu")


def stopped_after(draw: int) -> Callable[..., ImageSet]:
    """Give a `condense` during which Ctrl-C is pressed."""

    def stop(progress: Progress) -> None:
        if progress.position == (draw, 0):
            raise KeyboardInterrupt

    return lambda *args, **options: condense(*args, **{**options, "observer": stop})


def steps(folder: Path) -> list[tuple[int, int]]:
    return [(entry["draw"], entry["step"]) for entry in RunDirectory(folder).metrics()]


def test_a_set_is_condensed_or_chosen_and_then_scored(digits: DataSource, place: RunPlace) -> None:
    condensed = CondenseCell(data=digits, method=METHOD, seed=3, draws=2)
    chosen = RandomCell(data=digits, ipc=2, seed=4)
    scores = [EvaluateCell(source=s, recipe=RECIPE, repeat=k) for s in (condensed, chosen) for k in (2, 0)]

    outcome = run_cells(scores, place.store, INLINE)

    assert (len(outcome.computed), outcome.failed) == (6, {})
    splits = digits.read()
    assert splits.test is not None
    for cell in (condensed, chosen):
        images = cell.image_set(place)
        assert place.store.record(cell_key(cell))["result"]["fingerprint"] == images.fingerprint
        assert images.class_sizes == (cell.ipc,) * 10
    assert chosen.image_set(place).fingerprint == select_random(splits.train, 2, 4).fingerprint
    for score in scores:
        result = place.store.record(cell_key(score))["result"]
        images = score.source.image_set(place)
        expected = evaluate(images, splits.test, RECIPE)
        assert result["accuracy"] == expected.accuracies[score.repeat]
        used = computation(images, RECIPE, CPU)
        assert result["environment"] == {**expected.environment, "engine": used.engine}
    result = place.store.record(cell_key(condensed))["result"]
    assert steps(place.folder(condensed)) == [(d, s) for d in range(2) for s in range(2)]
    assert result["loss"] == RunDirectory(place.folder(condensed)).metrics()[-1]["loss"]
    assert result["condensing_seconds"] > 0
    assert result["environment"]["threads"] == 1


@pytest.mark.parametrize(
    "threads",
    [
        1,
        2,
    ],
)
def test_a_stopped_run_goes_on_or_begins_anew_with_other_threads(
    digits: DataSource, place: RunPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    cell = CondenseCell(data=digits, method=METHOD, seed=0, draws=3)
    with monkeypatch.context() as patch:
        patch.setattr(studies_cells, "condense", stopped_after(1))
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, place, 1)
    assert not place.store.finished(cell_key(cell))
    assert steps(place.folder(cell)) == [(0, 0), (0, 1), (1, 0)]
    began: list[Any] = []
    monkeypatch.setattr(RunDirectory, "log", _counted(RunDirectory.log, began))

    run_cell(cell, place, threads)

    assert place.store.failure(cell_key(cell)) is None
    record = place.store.record(cell_key(cell))
    assert record["threads"] == record["result"]["environment"]["threads"] == threads
    assert len(began) == (3 if threads == 1 else 6)
    assert steps(place.folder(cell)) == [(d, s) for d in range(3) for s in range(2)]
    unbroken = RunPlace(Store(tmp_path / "unbroken"), "cpu")
    run_cell(cell, unbroken, threads)
    assert cell.image_set(place).fingerprint == cell.image_set(unbroken).fingerprint


def test_a_finished_set_without_record_is_not_learned_again(
    digits: DataSource, place: RunPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CondenseCell(data=digits, method=METHOD, seed=0, draws=1)
    run_cell(cell, place, 1)
    (place.folder(cell) / "record.json").unlink()
    began: list[Any] = []
    monkeypatch.setattr(RunDirectory, "log", _counted(RunDirectory.log, began))
    run_cell(cell, place, 1)
    assert place.store.finished(cell_key(cell))
    assert began == []


@pytest.mark.parametrize("network", ["convnet-w4-d1", "convnet-w32-d2"])
def test_an_estimate_is_near_the_real_seconds(digits: DataSource, place: RunPlace, network: str) -> None:
    condensed = CondenseCell(data=digits, method=replace(METHOD, network=network), seed=0, draws=12)
    scored = EvaluateCell(source=condensed, recipe=replace(RECIPE, network=network, epochs=100), repeat=0)
    for cell in (condensed, scored):
        run_cell(cell, place, 1)
        seconds = place.store.record(cell_key(cell))["seconds"]
        assert 0.1 < cell.estimate(CPU) / seconds < 10
    assert RandomCell(data=digits, ipc=1, seed=0).estimate(CPU) > 0


def _counted(function: Callable[..., None], calls: list[Any]) -> Callable[..., None]:
    """Note every call."""

    def counted(*args: Any, **options: Any) -> None:
        calls.append(options)
        function(*args, **options)

    return counted
