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
from datacondense.condensation import loop
from datacondense.condensation.config import RunConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.factory import TaskFactory
from datacondense.studies.learning_rate_search import CondenseSearched
from datacondense.studies.runner import StoreWorkspace
from datacondense.studies.running import declared, find_study, run_study
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import task_key
from datacondense.studies.tasks import Condense, Evaluate
from datacondense.studies.workers import WorkersConfig
from tests.studies.made_tasks import MNIST, MadeTask

METHOD = GradientMatchingConfig(network="convnet-w4-d1", real_batch=8)
CONFIG = StudyConfig(
    iterations=3,
    seeds=1,
    repeats=1,
    epochs=2,
    image_lrs=(0.1, 3.0),
    search_repeats=1,
    method=METHOD,
)
TASKS = TaskFactory(data=MNIST, config=CONFIG, held_out=replace(MNIST, validation_fraction=0.1))
CPU = torch.device("cpu")


def searched(
    seed: int = 0, *, time_budget_from: CondenseSearched | None = None, **changes: Any
) -> CondenseSearched:
    """Declare one set."""
    source = None if time_budget_from is None else lambda _: time_budget_from
    task = TASKS.condensed(time_budget_from=source, **changes)(seed)
    assert isinstance(task, CondenseSearched)
    return task


def test_it_waits_for_the_choice_and_for_the_other_set() -> None:
    plain = searched()
    joined = searched(class_collective=True)
    timed = searched(time_budget_from=plain, class_collective=True)
    assert list(joined.inputs) == [joined.choice]
    assert list(timed.inputs) == [joined.choice, plain]
    assert joined.settings["iterations"] == 3
    assert timed.settings == {**joined.settings, "iterations": "equal seconds"}
    assert timed.settings["method"]["class_collective"] is True
    assert "class_collective" not in plain.settings["method"]
    assert (timed.data, timed.ipc, timed.network) == (joined.data, joined.ipc, joined.network)


def test_a_time_may_be_given_where_nothing_is_chosen() -> None:
    tasks = TaskFactory(data=MNIST, config=replace(CONFIG, image_lrs=()))
    plain = tasks.condensed()
    timed = tasks.condensed(time_budget_from=plain, class_collective=True)(4)
    assert isinstance(timed, CondenseSearched)
    assert list(timed.inputs) == [plain(4)]
    assert timed.settings["method"]["image_lr"] == 0.1
    assert timed.settings["iterations"] == "equal seconds"
    assert isinstance(plain(4), Condense)


def test_tasks_that_differ_in_anything_have_other_keys() -> None:
    plain = searched()
    tasks = [
        plain,
        searched(class_collective=True),
        searched(time_budget_from=plain),
        searched(time_budget_from=plain, class_collective=True),
        searched(time_budget_from=plain, class_collective=True, iterate_averaging=True),
        searched(time_budget_from=searched(real_batch=4), class_collective=True),
        searched(1, time_budget_from=plain, class_collective=True),
        searched(time_budget_from=searched(1), class_collective=True),
    ]
    assert len({task_key(task) for task in tasks}) == len(tasks)
    assert task_key(searched(time_budget_from=plain, class_collective=True)) == task_key(tasks[3])


def test_the_other_set_is_that_of_the_same_seed() -> None:
    plain = TASKS.condensed()
    timed = TASKS.condensed(time_budget_from=plain, class_collective=True)
    for seed in range(2):
        task = timed(seed)
        assert isinstance(task, CondenseSearched)
        assert task.time_budget_from == plain(seed)
        assert task.base.seed == seed


def test_kinds_tell_what_takes_time_apart() -> None:
    plain = searched()
    tasks = [plain, searched(class_collective=True), searched(time_budget_from=plain, class_collective=True)]
    assert len({task.kind for task in tasks}) == 3


def test_it_is_estimated_to_take_as_long_as_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Condense, "estimate", lambda task, _: 7.0 if task.method.class_collective else 5.0)
    plain = searched()
    assert plain.estimate(CPU) == 5
    assert searched(class_collective=True).estimate(CPU) == 7
    assert searched(time_budget_from=plain, class_collective=True).estimate(CPU) == 5


def recorded(folder: Path, timed: CondenseSearched, *, rate: float, seconds: float) -> StoreWorkspace:
    """Record by hand what a timed set looks at: the chosen learning rate, and the seconds that were spent."""
    store = Store(folder)
    results = {"image_lr": rate}, {"condensing_seconds": seconds}
    for task, result in zip(timed.inputs, results, strict=True):
        store.finish(task_key(task), {"result": result})
    return StoreWorkspace(store, "cpu")


@pytest.mark.parametrize("seconds", [12.5, 4321.123456789, 0.25])
def test_time_comes_from_the_other_record_and_takes_the_place_of_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    calls: list[tuple[Condense, Path, str | None]] = []

    def note(
        task: Condense, folder: Path, _: torch.device, *, time_limit: str | None = None
    ) -> Mapping[str, Any]:
        calls.append((task, folder, time_limit))
        return {"iterations": 2.5}

    monkeypatch.setattr(Condense, "condense_into", note)
    plain, joined = searched(), searched(class_collective=True)
    timed = searched(time_budget_from=plain, class_collective=True)
    base = replace(timed, choice=None)
    place = recorded(tmp_path, timed, rate=3.0, seconds=seconds)
    assert timed.run(place) == joined.run(place) == {"iterations": 2.5, "image_lr": 3.0}
    assert base.run(place) == {"iterations": 2.5, "image_lr": 0.1}
    (limited, folder, limit), (drawn, _, no_limit), (default, _, same_limit) = calls
    assert folder == place.folder(timed)
    assert RunConfig(time_limit=limit).time_limit_seconds == pytest.approx(seconds, abs=1e-6)
    assert same_limit == limit
    assert limited.iterations == default.iterations >= 10**6
    assert no_limit is None
    assert drawn == replace(joined.base, method=replace(joined.base.method, image_lr=3.0))
    assert limited == replace(drawn, iterations=limited.iterations)
    assert default == replace(joined.base, iterations=limited.iterations)


def timed_set(study: Study, row: str) -> CondenseSearched:
    """Give the first set of a row that takes as long as plain matching."""
    task = study.entries[row, "equal seconds"][0]
    assert isinstance(task, Evaluate)
    assert isinstance(task.source, CondenseSearched)
    return task.source


def test_more_seconds_give_more_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = declared(find_study("noise-aware"), DataSource(name="digits"), replace(CONFIG, image_lrs=(0.1,)))
    timed = timed_set(study, "classes joined")
    iterations = []
    for number, seconds in enumerate((5.0, 25.0)):
        # A clock that goes a second further whenever it is looked at.
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=count().__next__))
        place = recorded(tmp_path / str(number), timed, rate=3.0, seconds=seconds)
        found = timed.run(place)
        record = timed.image_set(place).provenance
        assert record["iterations_done"] == found["iterations"]
        assert RunConfig(time_limit=record["run"]["time_limit"]).time_limit_seconds == seconds
        assert record["settings"]["image_lr"] == found["image_lr"] == 3.0
        assert seconds / 2 < found["condensing_seconds"] <= seconds
        iterations.append(found["iterations"])
    assert 1 <= iterations[0] < iterations[1] / 2


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
    assert timed.time_budget_from is not None
    spent = store.record(task_key(timed.time_budget_from))["result"]["condensing_seconds"]
    condensed = ImageSet.load(store.folder(task_key(timed)) / "condensed.safetensors")
    limit = RunConfig(time_limit=condensed.provenance["run"]["time_limit"]).time_limit_seconds
    assert limit == pytest.approx(spent, abs=1e-6)
    assert (
        store.record(task_key(timed))["result"]["iterations"] == condensed.provenance["iterations_done"] > 0
    )
    assert not run_study(study, tmp_path, workers=inline).outcome.computed


# Rows.


def of(name: str, rows: Sequence[str] = (), **changes: Any) -> Study:
    """Declare a study for a data set that is not read."""
    config = replace(CONFIG, image_lrs=(), method=GradientMatchingConfig(), rows=tuple(rows), **changes)
    return declared(find_study(name), MNIST, config)


def keys(study: Study) -> dict[tuple[str, str], list[str]]:
    return {place: [task_key(task) for task in tasks] for place, tasks in study.entries.items()}


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
    full, some = of(name), of(name, rows)
    assert sorted(some.rows) == sorted(kept)
    assert list(some.rows) == [row for row in full.rows if row in kept]
    assert some.columns == full.columns
    assert keys(some) == {place: found for place, found in keys(full).items() if place[0] in kept}
    assert some.paired == {place: other for place, other in full.paired.items() if place[0] in kept}
    assert {task_key(task) for task in some.tasks} < {task_key(task) for task in full.tasks}


def test_orderings_and_published_numbers_of_other_rows_are_dropped() -> None:
    full = of("pooling")
    some = full.restricted(["none", "average"])
    assert some.published == {place: v for place, v in full.published.items() if place[0] != "max"}
    spoken = {claim: {row for row, _ in (*claim.better, *claim.worse)} for claim in full.claims}
    assert some.claims == tuple(claim for claim, rows in spoken.items() if "max" not in rows)
    assert len(full.restricted(full.rows).claims) == len(full.claims) > len(some.claims)
    assert full.restricted(full.rows) == full


def test_the_whole_data_set_stays() -> None:
    full = of("ipc", full_networks=2)
    some = full.restricted(["random"])
    assert some.full == full.full
    assert some.tasks[-2:] == list(full.full)


def test_who_a_partner_is_compared_with_is_left_out(tmp_path: Path) -> None:
    tasks = {row: (MadeTask(name=row, log=tmp_path / "log"),) for row in "abcd"}
    chain = Study(
        name="chain",
        title="?",
        rows=tuple("abcd"),
        columns=("x",),
        row_axis="",
        column_axis="",
        entries={(row, "x"): made for row, made in tasks.items()},
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
