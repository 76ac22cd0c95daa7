"""From a name to a table, on the embedded digits."""

from pathlib import Path

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.factory import TaskFactory, grid
from datacondense.studies.runner import StoreWorkspace, StudyProgress
from datacondense.studies.running import declared, find_study, run_study
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.workers import WorkersConfig

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
    assert all((entry.n, entry.sets, entry.missing) == (4, 2, 0) for entry in run.result.entries.values())
    assert run.result.entries["max", "max"] == corner.result.entries["max", "max"]
    assert len(run.result.environments) == 1
    assert len(run.result.claims) == len(study.claims)

    workspace = StoreWorkspace(Store(tmp_path / "cells"), "cpu")
    tasks = study.entries["none", "average"]
    splits = tasks[0].source.data.read()  # type: ignore[attr-defined]
    assert splits.test is not None
    assert len(splits.test) == (355 if not fraction else 434)
    images = tasks[2].source.image_set(workspace)  # type: ignore[attr-defined]
    expected = evaluate(images, splits.test, tasks[2].protocol)
    accuracies = run.result.entries["none", "average"].accuracies
    assert [accuracies[1, repeat] for repeat in range(2)] == list(expected.accuracies[:2])
