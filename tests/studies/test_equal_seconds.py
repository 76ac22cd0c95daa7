"""Arms that may take as long as another: what ends them, what is recorded. Some rows of a study alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datacondense.cli import main
from datacondense.condensation import GradientMatchingConfig, RunConfig, loop
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.studies import (
    CellFactory,
    DataSource,
    Study,
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
from tests.studies.made_cells import MNIST, MadeCell

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


def test_a_time_may_be_given_where_nothing_is_chosen() -> None:
    cells = CellFactory(data=MNIST, config=replace(CONFIG, image_lrs=()))
    plain = cells.condensed()
    timed = cells.condensed(as_long_as=plain, join_classes=True)(4)
    assert isinstance(timed, TunedCell)
    assert list(timed.inputs) == [plain(4)]
    assert timed.settings["method"]["image_lr"] == 0.1
    assert timed.settings["draws"] == "equal seconds"
    assert isinstance(plain(4), CondenseCell)


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


def recorded(folder: Path, timed: TunedCell, *, rate: float, seconds: float) -> RunPlace:
    """Record by hand what a timed set looks at: the chosen learning rate, and the seconds that were spent."""
    store = Store(folder)
    results = {"image_lr": rate}, {"condensing_seconds": seconds}
    for cell, result in zip(timed.inputs, results, strict=True):
        store.finish(cell_key(cell), {"result": result})
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
    untuned = replace(timed, choice=None)
    place = recorded(tmp_path, timed, rate=3.0, seconds=seconds)
    assert timed.run(place) == joined.run(place) == {"draws": 2.5, "image_lr": 3.0}
    assert untuned.run(place) == {"draws": 2.5, "image_lr": 0.1}
    (limited, folder, limit), (drawn, _, no_limit), (default, _, same_limit) = calls
    assert folder == place.folder(timed)
    assert RunConfig(time_limit=limit).time_limit_seconds == pytest.approx(seconds, abs=1e-6)
    assert same_limit == limit
    assert limited.draws == default.draws >= 10**6
    assert no_limit is None
    assert drawn == replace(joined.untuned, method=replace(joined.untuned.method, image_lr=3.0))
    assert limited == replace(drawn, draws=limited.draws)
    assert default == replace(joined.untuned, draws=limited.draws)


def timed_set(study: Study, row: str) -> TunedCell:
    """Give the first set of a row that takes as long as plain matching."""
    cell = study.entries[row, "equal seconds"][0]
    assert isinstance(cell, EvaluateCell)
    assert isinstance(cell.source, TunedCell)
    return cell.source


def test_more_seconds_give_more_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = declared(find_study("noise-aware"), DataSource(name="digits"), replace(CONFIG, image_lrs=(0.1,)))
    timed = timed_set(study, "classes joined")
    draws = []
    for number, seconds in enumerate((5.0, 25.0)):
        # A clock that goes a second further whenever it is looked at.
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=count().__next__))
        place = recorded(tmp_path / str(number), timed, rate=3.0, seconds=seconds)
        found = timed.run(place)
        record = timed.image_set(place).record
        assert record["draws_done"] == found["draws"]
        assert RunConfig(time_limit=record["run"]["time_limit"]).time_limit_seconds == seconds
        assert record["settings"]["image_lr"] == found["image_lr"] == 3.0
        assert seconds / 2 < found["condensing_seconds"] <= seconds
        draws.append(found["draws"])
    assert 1 <= draws[0] < draws[1] / 2


def test_the_study_of_noise_aware_matching_from_end_to_end(tmp_path: Path) -> None:
    config = replace(CONFIG, rows=("classes joined",))
    study = declared(find_study("noise-aware"), DataSource(name="digits"), config)
    assert study.rows == ("plain", "classes joined")
    inline = WorkersConfig(backend="inline", threads=1)
    run = run_study(study, tmp_path, workers=inline)
    assert not run.outcome.failed
    assert all((entry.n, entry.missing) == (1, 0) for entry in run.result.entries.values())
    assert study.entries["plain", "equal draws"] == study.entries["plain", "equal seconds"]
    timed, store = timed_set(study, "classes joined"), Store(tmp_path / "cells")
    assert timed.as_long_as is not None
    spent = store.record(cell_key(timed.as_long_as))["result"]["condensing_seconds"]
    condensed = ImageSet.load(store.folder(cell_key(timed)) / "condensed.safetensors")
    limit = RunConfig(time_limit=condensed.record["run"]["time_limit"]).time_limit_seconds
    assert limit == pytest.approx(spent, abs=1e-6)
    assert store.record(cell_key(timed))["result"]["draws"] == condensed.record["draws_done"] > 0
    assert not run_study(study, tmp_path, workers=inline).outcome.computed


# Rows.


def of(name: str, rows: Sequence[str] = (), **changes: Any) -> Study:
    """Declare a study for a data set that is not read."""
    config = replace(CONFIG, image_lrs=(), method=GradientMatchingConfig(), rows=tuple(rows), **changes)
    return declared(find_study(name), MNIST, config)


def keys(study: Study) -> dict[tuple[str, str], list[str]]:
    return {place: [cell_key(cell) for cell in cells] for place, cells in study.entries.items()}


@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("representatives", ["max 1×1"], ["plain", "max 1×1"]),
        ("representatives", ["max 2×2", "mean 1×1", "max 2×2"], ["plain", "mean 1×1", "max 2×2"]),
        ("representatives", ["plain"], ["plain"]),
        ("masks", ["most stable"], ["most stable"]),
        ("noise-aware", ["classes joined"], ["plain", "classes joined"]),
        ("pooling", ["average", "none"], ["none", "average"]),
    ],
)
def test_rows_stay_with_what_they_are_compared_with(name: str, rows: list[str], kept: list[str]) -> None:
    whole, some = of(name), of(name, rows)
    assert sorted(some.rows) == sorted(kept)
    assert list(some.rows) == [row for row in whole.rows if row in kept]
    assert some.columns == whole.columns
    assert keys(some) == {place: found for place, found in keys(whole).items() if place[0] in kept}
    assert some.paired == {place: other for place, other in whole.paired.items() if place[0] in kept}
    assert {cell_key(cell) for cell in some.cells} < {cell_key(cell) for cell in whole.cells}


def test_orderings_and_published_numbers_of_other_rows_are_dropped() -> None:
    whole = of("pooling")
    some = whole.restricted(["none", "average"])
    assert some.published == {place: v for place, v in whole.published.items() if place[0] != "max"}
    spoken = {claim: {row for row, _ in (*claim.better, *claim.worse)} for claim in whole.claims}
    assert some.claims == tuple(claim for claim, rows in spoken.items() if "max" not in rows)
    assert len(whole.restricted(whole.rows).claims) == len(whole.claims) > len(some.claims)
    assert whole.restricted(whole.rows) == whole


def test_the_whole_data_set_stays() -> None:
    whole = of("ipc", whole_networks=2)
    some = whole.restricted(["random"])
    assert some.whole == whole.whole
    assert some.cells[-2:] == list(whole.whole)


def test_who_a_partner_is_compared_with_is_left_out(tmp_path: Path) -> None:
    cells = {row: (MadeCell(name=row, log=tmp_path / "log"),) for row in "abcd"}
    chain = Study(
        name="chain",
        title="?",
        rows=tuple("abcd"),
        columns=("x",),
        row_axis="",
        column_axis="",
        entries={(row, "x"): made for row, made in cells.items()},
        paired={("b", "x"): ("a", "x"), ("c", "x"): ("b", "x"), ("d", "x"): ("c", "x")},
    )
    some = chain.restricted(["c"])
    assert some.rows == ("b", "c")
    assert some.paired == {("c", "x"): ("b", "x")}


def test_unknown_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "pooling has no row 'sum': choose from 'none', 'max', 'average'."
    for rows in (["sum"], ["max", "sum"]):
        with pytest.raises(InputError) as refused:
            of("pooling", rows)
        assert str(refused.value) == message
    assert main(["study", "pooling", "digits", "--out", str(tmp_path / "out"), "--rows", "max", "sum"]) == 2
    assert capsys.readouterr().err == f"datacondense: {message}\n"
    assert not (tmp_path / "out").exists()
