"""From a name to a table, on the embedded digits; studies restricted to some rows; and tasks of any kind."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.cli.main import main
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.evaluation.scoring import evaluate
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory, grid
from datacondense.studies.running import declared, run_study, run_tasks
from datacondense.studies.study import Study
from datacondense.studies.tasks import Evaluate
from datacondense.tasks.scheduler import StudyProgress
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.workers import WorkersConfig
from tests.tasks.made_tasks import MNIST, MadeTask

INLINE = WorkersConfig(backend="inline", threads=1)
CONFIG = StudyConfig(
    iterations=1,
    seeds=2,
    repeats=2,
    epochs=2,
    method=GradientMatchingConfig(network="convnet-w4-d1", real_batch=8),
)


def small(tasks: TaskFactory) -> Study:
    """A corner of the study of pooling."""
    return Study(
        name="small",
        title="?",
        rows=("max",),
        columns=("max",),
        row_axis="",
        column_axis="",
        entries=grid(
            tasks,
            rows={"max": tasks.condensed(network="convnet-w4-d1-max")},
            columns={"max": {"network": "convnet-w4-d1-max"}},
        ),
    )


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_a_study_runs_shares_its_tasks_and_agrees_with_evaluate(tmp_path: Path, fraction: float) -> None:
    data = DataSource(name="digits", validation_fraction=fraction)
    corner = run_study(declared(small, data, CONFIG), tmp_path, workers=INLINE)
    assert (len(corner.outcome.computed), corner.outcome.failed) == (2 + 4, {})
    seen: list[StudyProgress] = []
    study = declared(find_study("pooling"), data, CONFIG)
    run = run_study(study, tmp_path, workers=INLINE, observer=seen.append)

    assert set(run.outcome.reused) == set(corner.outcome.computed)
    assert len(run.outcome.computed) == 3 * 2 + 9 * 4 - 6
    assert (seen[-1].total, seen[-1].done, seen[-1].failed) == (36, 36, 0)
    table = run.result.table
    assert len(table) == 9
    assert set(zip(table["n"], table["sets"], table["missing"], strict=True)) == {(4, 2, 0)}
    assert table.loc["max", "max"]["mean"] == corner.result.table.loc["max", "max"]["mean"]
    assert len(run.result.environments) == 1
    assert len(run.result.claims) == len(study.claims)

    task = study.entries["none", "average"][2]
    assert isinstance(task, Evaluate)
    test = task.data.read().test
    assert test is not None
    assert len(test) == (355 if not fraction else 434)
    images = task.source.image_set(Workspace(Store(tmp_path / "cells")))
    expected = evaluate(images, test, task.protocol)
    lines = run.result.frame.set_index(["row", "column", "seed"]).loc["none", "average", 1]
    assert lines.sort_values("network")["accuracy"].tolist() == list(expected.accuracies[:2])


def test_tasks_of_any_kind_become_a_frame(tmp_path: Path) -> None:
    source = MadeTask(name="a")
    tasks = [source, MadeTask(name="b", inputs=(source,)), MadeTask(name="bad", breaks="KeyError at once")]
    run = run_tasks(tasks, tmp_path, workers=INLINE)
    assert list(run.outcome.failed) == [tasks[2].key]
    assert run.result["name"].tolist() == ["a", "b"]
    assert run.result["key"].tolist() == [task.key for task in tasks[:2]]
    assert run.result["threads"].tolist() == [1, 1]
    corner = declared(small, DataSource(name="digits"), CONFIG).tasks[0]
    (line,) = run_tasks([corner], tmp_path, workers=INLINE).result.to_dict("records")
    assert 0 < line["accuracy"] < 1
    assert (line["protocol.epochs"], line["source.method.network"]) == (2, "convnet-w4-d1-max")
    assert line["environment.threads"] == 1


# Rows.


def of(name: str, rows: Sequence[str] = (), **changes: Any) -> Study:
    """Declare a study for a data set that is not read."""
    return declared(
        find_study(name), MNIST, replace(CONFIG, method=GradientMatchingConfig(), rows=tuple(rows), **changes)
    )


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
    assert list(some.rows) == [row for row in full.rows if row in kept]
    assert len(some.rows) == len(kept)
    assert some.columns == full.columns
    assert some.entries == {entry: found for entry, found in full.entries.items() if entry[0] in kept}
    assert some.paired == {entry: other for entry, other in full.paired.items() if entry[0] in kept}
    assert len(some.tasks) < len(full.tasks)


def test_orderings_and_published_numbers_of_other_rows_are_dropped() -> None:
    full, some = of("pooling"), of("pooling", ["none", "average"])
    assert some.published == {entry: v for entry, v in full.published.items() if entry[0] != "max"}
    spoken = {claim: {row for row, _ in (*claim.better, *claim.worse)} for claim in full.claims}
    assert some.claims == tuple(claim for claim, rows in spoken.items() if "max" not in rows)
    assert len(full.claims) > len(some.claims)
    assert full.restricted(full.rows) == full


def test_restricted_studies_keep_full_training() -> None:
    full = of("ipc", full_networks=2)
    some = full.restricted(["random"])
    assert some.full == full.full
    assert some.tasks[-2:] == list(full.full)


def test_partners_of_partners_are_left_out() -> None:
    (task, *_) = of("pooling").tasks
    pairs = {("b", "x"): ("a", "x"), ("c", "x"): ("b", "x"), ("d", "x"): ("c", "x")}
    entries = {(row, "x"): (task,) for row in "abcd"}
    chain = Study(
        name="chain",
        title="?",
        rows=tuple("abcd"),
        columns=("x",),
        row_axis="",
        column_axis="",
        entries=entries,
        paired=pairs,
    )
    some = chain.restricted(["c"])
    assert (some.rows, some.paired) == (("b", "c"), {("c", "x"): ("b", "x")})


def test_unknown_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "pooling has no row 'sum': choose from 'none', 'max', 'average'."
    for rows in (["sum"], ["max", "sum"]):
        with pytest.raises(InputError) as refused:
            of("pooling", rows)
        assert str(refused.value) == message
    assert main(["study", "pooling", "digits", "--out", str(tmp_path / "out"), "--rows", "max", "sum"]) == 2
    assert capsys.readouterr().err == f"datacondense: {message}\n"
    assert not (tmp_path / "out").exists()
