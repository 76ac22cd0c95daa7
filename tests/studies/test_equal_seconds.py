"""Arms that may take as long as another: what they wait for, what ends them, what is recorded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.cli import main
from datacondense.condensation import GradientMatchingConfig, RunConfig
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.studies import (
    CellFactory,
    DataSource,
    StudyConfig,
    WorkersConfig,
    declared,
    find_study,
    run_study,
)
from datacondense.studies.cell import cell_key
from datacondense.studies.cells import CondenseCell, EvaluateCell
from datacondense.studies.runner import RunPlace
from datacondense.studies.store import Store
from datacondense.studies.tuned import TunedCell
from tests.studies.made_cells import MNIST

METHOD = GradientMatchingConfig(network="convnet-w4-d1", real_batch=8)
CONFIG = StudyConfig(
    draws=3,
    seeds=1,
    repeats=1,
    epochs=2,
    image_lrs=(0.1, 3.0),
    choice_repeats=1,
    method=METHOD,
)
CELLS = CellFactory(data=MNIST, config=CONFIG, held_out=replace(MNIST, validation_fraction=0.1))
CPU = torch.device("cpu")


def tuned(seed: int = 0, *, as_long_as: TunedCell | None = None, **changes: Any) -> TunedCell:
    """Declare one set."""
    source = None if as_long_as is None else lambda _: as_long_as
    cell = CELLS.condensed(as_long_as=source, **changes)(seed)
    assert isinstance(cell, TunedCell)
    return cell


def test_it_waits_for_the_choice_and_for_the_other_set() -> None:
    plain = tuned()
    joined = tuned(join_classes=True)
    timed = tuned(as_long_as=plain, join_classes=True)
    assert list(joined.inputs) == [joined.choice]
    assert list(timed.inputs) == [joined.choice, plain]
    assert joined.settings["draws"] == 3
    assert timed.settings == {**joined.settings, "draws": "equal seconds"}
    assert timed.settings["method"]["join_classes"] is True
    assert "join_classes" not in plain.settings["method"]
    assert (timed.data, timed.ipc, timed.network) == (joined.data, joined.ipc, joined.network)


def test_cells_that_differ_in_anything_have_other_keys() -> None:
    plain = tuned()
    cells = [
        plain,
        tuned(join_classes=True),
        tuned(as_long_as=plain),
        tuned(as_long_as=plain, join_classes=True),
        tuned(as_long_as=plain, join_classes=True, average_images=True),
        tuned(as_long_as=tuned(real_batch=4), join_classes=True),
        tuned(1, as_long_as=plain, join_classes=True),
        tuned(as_long_as=tuned(1), join_classes=True),
    ]
    assert len({cell_key(cell) for cell in cells}) == len(cells)
    assert cell_key(tuned(as_long_as=plain, join_classes=True)) == cell_key(cells[3])


def test_the_other_set_is_that_of_the_same_seed() -> None:
    plain = CELLS.condensed()
    timed = CELLS.condensed(as_long_as=plain, join_classes=True)
    for seed in range(2):
        cell = timed(seed)
        assert isinstance(cell, TunedCell)
        assert cell.as_long_as == plain(seed)
        assert cell.untuned.seed == seed


def test_kinds_tell_what_takes_time_apart() -> None:
    plain = tuned()
    cells = [plain, tuned(join_classes=True), tuned(as_long_as=plain, join_classes=True)]
    assert len({cell.kind for cell in cells}) == 3


def test_it_is_estimated_to_take_as_long_as_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CondenseCell, "estimate", lambda cell, _: 7.0 if cell.method.join_classes else 5.0)
    plain = tuned()
    assert plain.estimate(CPU) == 5
    assert tuned(join_classes=True).estimate(CPU) == 7
    assert tuned(as_long_as=plain, join_classes=True).estimate(CPU) == 5


def recorded(folder: Path, plain: TunedCell, joined: TunedCell, seconds: float) -> RunPlace:
    """Record by hand what a timed set looks at."""
    store = Store(folder)
    store.finish(cell_key(plain), {"result": {"condensing_seconds": seconds, "image_lr": 0.1}})
    store.finish(cell_key(joined.choice), {"result": {"image_lr": 3.0}})
    return RunPlace(store, "cpu")


@pytest.mark.parametrize("seconds", [12.5, 4321.123456789, 0.25])
def test_time_comes_from_the_other_record_and_takes_the_place_of_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    calls: list[tuple[CondenseCell, Path, str | None]] = []

    def note(
        cell: CondenseCell, folder: Path, _: torch.device, *, time_limit: str | None = None
    ) -> Mapping[str, Any]:
        calls.append((cell, folder, time_limit))
        return {"draws": 2.5}

    monkeypatch.setattr(CondenseCell, "condense_into", note)
    plain, joined = tuned(), tuned(join_classes=True)
    timed = tuned(as_long_as=plain, join_classes=True)
    place = recorded(tmp_path, plain, joined, seconds)
    assert timed.run(place) == joined.run(place) == {"draws": 2.5, "image_lr": 3.0}
    (limited, folder, limit), (drawn, _, no_limit) = calls
    assert folder == place.folder(timed)
    assert RunConfig(time_limit=limit).time_limit_seconds == pytest.approx(seconds, abs=1e-6)
    assert limited.draws >= 10**6
    assert no_limit is None
    assert drawn == replace(joined.untuned, method=replace(joined.untuned.method, image_lr=3.0))
    assert limited == replace(drawn, draws=limited.draws)


def test_more_seconds_give_more_draws(tmp_path: Path) -> None:
    config = replace(CONFIG, image_lrs=(0.1,))
    digits = declared(find_study("noise-aware"), DataSource(name="digits"), config)
    (cell,) = digits.entries["classes joined", "equal seconds"]
    assert isinstance(cell, EvaluateCell)
    timed = cell.source
    assert isinstance(timed, TunedCell)
    assert isinstance(timed.as_long_as, TunedCell)
    found = []
    for number, seconds in enumerate((1e-4, 1.0)):
        place = recorded(tmp_path / str(number), timed.as_long_as, timed, seconds)
        found.append(timed.run(place))
        record = timed.image_set(place).record
        assert record["draws_done"] == found[-1]["draws"]
        assert RunConfig(time_limit=record["run"]["time_limit"]).time_limit_seconds == seconds
        assert record["settings"]["image_lr"] == 3.0
    # A step is always finished, and in no time at all none is begun after the first.
    assert found[0]["draws"] <= 1
    assert found[1]["draws"] > 1
    assert found[1]["condensing_seconds"] > 0.3


def test_the_study_of_noise_aware_matching_from_end_to_end(tmp_path: Path) -> None:
    config = replace(CONFIG, rows=("classes joined",))
    study = declared(find_study("noise-aware"), DataSource(name="digits"), config)
    assert study.rows == ("plain", "classes joined")
    run = run_study(study, tmp_path, workers=WorkersConfig(backend="inline", threads=1))
    assert not run.outcome.failed
    assert all((entry.n, entry.missing) == (1, 0) for entry in run.result.entries.values())
    assert study.entries["plain", "equal draws"] == study.entries["plain", "equal seconds"]
    sets: dict[str, TunedCell] = {}
    for column in study.columns:
        (cell,) = study.entries["classes joined", column]
        assert isinstance(cell, EvaluateCell)
        assert isinstance(cell.source, TunedCell)
        sets[column] = cell.source
    timed = sets["equal seconds"]
    store = Store(tmp_path / "cells")
    assert store.record(cell_key(sets["equal draws"]))["result"]["draws"] == 3
    result = store.record(cell_key(timed))["result"]
    assert timed.as_long_as is not None
    spent = store.record(cell_key(timed.as_long_as))["result"]["condensing_seconds"]
    condensed = ImageSet.load(store.folder(cell_key(timed)) / "condensed.safetensors")
    limit = RunConfig(time_limit=condensed.record["run"]["time_limit"]).time_limit_seconds
    assert limit == pytest.approx(spent, abs=1e-6)
    assert result["draws"] == condensed.record["draws_done"] > 0
    assert not run_study(study, tmp_path, workers=WorkersConfig(backend="inline", threads=1)).outcome.computed


def test_equal_seconds_are_refused_where_nothing_is_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = CellFactory(data=MNIST, config=replace(CONFIG, image_lrs=()))
    message = "Arms of equal seconds choose their learning rates: give --image-lrs."
    for declare in (
        lambda: cells.condensed(as_long_as=cells.condensed()),
        lambda: CELLS.condensed(as_long_as=CELLS.condensed(), image_lr=0.2),
        lambda: find_study("noise-aware")(cells),
    ):
        with pytest.raises(InputError) as refused:
            declare()
        assert str(refused.value) == message
    assert main(["study", "noise-aware", "digits", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"datacondense: {message}\n"
    assert not (tmp_path / "out").exists()
