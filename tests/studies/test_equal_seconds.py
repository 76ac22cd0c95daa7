"""Variants with a time budget: what ends them, what is recorded. Studies restricted to some rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datacondense.cli.main import main
from datacondense.condensation import loop
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.factory import TaskFactory
from datacondense.studies.learning_rate_search import CondenseAdapted
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
    seed: int = 0, *, time_budget_from: CondenseAdapted | None = None, **changes: Any
) -> CondenseAdapted:
    """Declare one set."""
    source = None if time_budget_from is None else lambda _: time_budget_from
    task = TASKS.condensed(time_budget_from=source, **changes)(seed)
    assert isinstance(task, CondenseAdapted)
    return task


def test_inputs_are_the_search_and_the_set_that_gives_the_time_budget() -> None:
    plain = searched()
    collective = searched(class_collective=True)
    timed = searched(time_budget_from=plain, class_collective=True)
    assert list(collective.inputs) == [collective.search]
    assert list(timed.inputs) == [collective.search, plain]
    assert collective.settings["iterations"] == 3
    assert timed.settings == {**collective.settings, "iterations": "equal seconds"}
    assert timed.settings["method"]["class_collective"] is True
    assert "class_collective" not in plain.settings["method"]
    assert (timed.data, timed.ipc, timed.network) == (collective.data, collective.ipc, collective.network)


def test_a_time_budget_needs_no_search() -> None:
    tasks = TaskFactory(data=MNIST, config=replace(CONFIG, image_lrs=()))
    plain = tasks.condensed()
    timed = tasks.condensed(time_budget_from=plain, class_collective=True)(4)
    assert isinstance(timed, CondenseAdapted)
    assert list(timed.inputs) == [plain(4)]
    assert timed.settings["method"]["image_lr"] == 0.1
    assert timed.settings["iterations"] == "equal seconds"
    assert isinstance(plain(4), Condense)


def test_different_tasks_have_different_keys() -> None:
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


def test_the_time_budget_comes_from_the_set_of_the_same_seed() -> None:
    plain = TASKS.condensed()
    timed = TASKS.condensed(time_budget_from=plain, class_collective=True)
    for seed in range(2):
        task = timed(seed)
        assert isinstance(task, CondenseAdapted)
        assert task.time_budget_from == plain(seed)
        assert task.base.seed == seed


def test_kinds_differ_where_times_do() -> None:
    plain = searched()
    tasks = [plain, searched(class_collective=True), searched(time_budget_from=plain, class_collective=True)]
    assert len({task.kind for task in tasks}) == 3


def test_a_time_budget_is_estimated_by_the_set_that_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Condense, "estimate", lambda task, _: 7.0 if task.method.class_collective else 5.0)
    plain = searched()
    assert plain.estimate(CPU) == 5
    assert searched(class_collective=True).estimate(CPU) == 7
    assert searched(time_budget_from=plain, class_collective=True).estimate(CPU) == 5


def recorded(folder: Path, timed: CondenseAdapted, *, rate: float, seconds: float) -> StoreWorkspace:
    """Record by hand what a timed set reads: the best learning rate, and the seconds that were spent."""
    store = Store(folder)
    results = {"image_lr": rate}, {"condensing_seconds": seconds}
    for task, result in zip(timed.inputs, results, strict=True):
        store.finish(task_key(task), {"result": result})
    return StoreWorkspace(store, "cpu")


@pytest.mark.parametrize("seconds", [12.5, 4321.123456789, 0.25])
def test_a_recorded_time_replaces_the_number_of_iterations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    calls: list[tuple[Condense, Path, str | None]] = []

    def note(
        task: Condense, folder: Path, _: torch.device, *, time_limit: str | None = None
    ) -> Mapping[str, Any]:
        calls.append((task, folder, time_limit))
        return {"iterations": 2.5}

    monkeypatch.setattr(Condense, "condense_into", note)
    plain, collective = searched(), searched(class_collective=True)
    timed = searched(time_budget_from=plain, class_collective=True)
    base = replace(timed, search=None)
    workspace = recorded(tmp_path, timed, rate=3.0, seconds=seconds)
    assert timed.run(workspace) == collective.run(workspace) == {"iterations": 2.5, "image_lr": 3.0}
    assert base.run(workspace) == {"iterations": 2.5, "image_lr": 0.1}
    (limited, folder, limit), (counted, _, no_limit), (default, _, same_limit) = calls
    assert folder == workspace.folder(timed)
    assert RunConfig(time_limit=limit).time_limit_seconds == pytest.approx(seconds, abs=1e-6)
    assert same_limit == limit
    assert limited.iterations == default.iterations >= 10**6
    assert no_limit is None
    assert counted == replace(collective.base, method=replace(collective.base.method, image_lr=3.0))
    assert limited == replace(counted, iterations=limited.iterations)
    assert default == replace(collective.base, iterations=limited.iterations)


def timed_set(study: Study, row: str) -> CondenseAdapted:
    """Return the first set of a row that has the time budget of plain matching."""
    task = study.entries[row, "equal seconds"][0]
    assert isinstance(task, Evaluate)
    assert isinstance(task.source, CondenseAdapted)
    return task.source


def test_more_seconds_give_more_iterations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = declared(find_study("noise-aware"), DataSource(name="digits"), replace(CONFIG, image_lrs=(0.1,)))
    timed = timed_set(study, "class-collective")
    iterations = []
    for number, seconds in enumerate((5.0, 25.0)):
        # A clock that advances one second whenever it is read.
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=count().__next__))
        workspace = recorded(tmp_path / str(number), timed, rate=3.0, seconds=seconds)
        found = timed.run(workspace)
        record = timed.image_set(workspace).provenance
        assert record["iterations_done"] == found["iterations"]
        assert RunConfig(time_limit=record["run"]["time_limit"]).time_limit_seconds == seconds
        assert record["settings"]["image_lr"] == found["image_lr"] == 3.0
        assert seconds / 2 < found["condensing_seconds"] <= seconds
        iterations.append(found["iterations"])
    assert 1 <= iterations[0] < iterations[1] / 2


def test_the_study_of_noise_aware_matching_from_end_to_end(tmp_path: Path) -> None:
    config = replace(CONFIG, rows=("class-collective",))
    study = declared(find_study("noise-aware"), DataSource(name="digits"), config)
    assert study.rows == ("plain", "class-collective")
    inline = WorkersConfig(backend="inline", threads=1)
    run = run_study(study, tmp_path, workers=inline)
    assert not run.outcome.failed
    assert all((entry.n, entry.missing) == (1, 0) for entry in run.result.entries.values())
    assert study.entries["plain", "equal iterations"] == study.entries["plain", "equal seconds"]
    timed, store = timed_set(study, "class-collective"), Store(tmp_path / "cells")
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
    return {entry: [task_key(task) for task in tasks] for entry, tasks in study.entries.items()}


@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("representatives", ["max 1×1"], ["plain", "max 1×1"]),
        ("representatives", ["max 2×2", "mean 1×1", "max 2×2"], ["plain", "mean 1×1", "max 2×2"]),
        ("representatives", ["plain"], ["plain"]),
        ("masks", ["most stable"], ["most stable"]),
        ("noise-aware", ["class-collective"], ["plain", "class-collective"]),
        ("pooling", ["average", "none"], ["none", "average"]),
    ],
)
def test_rows_keep_the_rows_that_they_are_compared_with(name: str, rows: list[str], kept: list[str]) -> None:
    full, some = of(name), of(name, rows)
    assert sorted(some.rows) == sorted(kept)
    assert list(some.rows) == [row for row in full.rows if row in kept]
    assert some.columns == full.columns
    assert keys(some) == {entry: found for entry, found in keys(full).items() if entry[0] in kept}
    assert some.paired == {entry: other for entry, other in full.paired.items() if entry[0] in kept}
    assert {task_key(task) for task in some.tasks} < {task_key(task) for task in full.tasks}


def test_orderings_and_published_numbers_of_other_rows_are_dropped() -> None:
    full = of("pooling")
    some = full.restricted(["none", "average"])
    assert some.published == {entry: v for entry, v in full.published.items() if entry[0] != "max"}
    spoken = {claim: {row for row, _ in (*claim.better, *claim.worse)} for claim in full.claims}
    assert some.claims == tuple(claim for claim, rows in spoken.items() if "max" not in rows)
    assert len(full.restricted(full.rows).claims) == len(full.claims) > len(some.claims)
    assert full.restricted(full.rows) == full


def test_restricted_studies_keep_full_training() -> None:
    full = of("ipc", full_networks=2)
    some = full.restricted(["random"])
    assert some.full == full.full
    assert some.tasks[-2:] == list(full.full)


def test_partners_of_partners_are_left_out(tmp_path: Path) -> None:
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
