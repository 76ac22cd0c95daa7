"""Learning-rate search on held-out images: the rates, the images, and the sets condensed with the result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.factory import TaskFactory
from datacondense.studies.learning_rate_search import CondenseAdapted, SearchLearningRate
from datacondense.studies.results import collect
from datacondense.studies.runner import StoreWorkspace
from datacondense.studies.running import declared, run_study
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import by_depth, task_key
from datacondense.studies.tasks import Condense, Evaluate
from datacondense.studies.workers import WorkersConfig

INLINE = WorkersConfig(backend="inline", threads=1)
RATES = (0.1, 3.0)
CONFIG = StudyConfig(
    iterations=2,
    seeds=2,
    repeats=1,
    epochs=3,
    image_lrs=RATES,
    search_seeds=2,
    search_repeats=2,
    method=GradientMatchingConfig(network="convnet-w4-d1", real_batch=8),
)
DIGITS = DataSource(name="digits")


def one_variant(tasks: TaskFactory, **changes: Any) -> Study:
    return Study(
        name="one",
        title="?",
        rows=("variant",),
        columns=("itself",),
        row_axis="",
        column_axis="",
        entries={("variant", "itself"): tasks.scored(tasks.condensed(**changes), network="convnet-w4-d1")},
    )


def parts(study: Study) -> tuple[list[CondenseAdapted], SearchLearningRate, list[Evaluate]]:
    """Take a study with one variant apart."""
    tasks = [task for group in by_depth(study.tasks) for task in group.values()]
    searched = [task for task in tasks if isinstance(task, CondenseAdapted)]
    (search,) = [task for task in tasks if isinstance(task, SearchLearningRate)]
    trials = [task for task in search.inputs if isinstance(task, Evaluate)]
    return searched, search, trials


def test_the_search_uses_held_out_training_images() -> None:
    study = declared(one_variant, DIGITS, CONFIG)
    searched, _, trials = parts(study)
    assert len(searched) == 2
    assert len(trials) == 2 * 2 * 2  # rates, sets, networks
    test = identified(DIGITS).content["test"]
    for trial in trials:
        assert isinstance(trial.source, Condense)
        assert trial.settings["images"]["test"] != test
        assert trial.source.data.validation_fraction == 0.1
        assert trial.source.seed not in {task.base.seed for task in searched}
    assert [trial.source.method.image_lr for trial in trials if isinstance(trial.source, Condense)] == [
        *[0.1] * 4,
        *[3.0] * 4,
    ]
    assert all(task.protocol.seed < 10_000 for task in study.tasks)
    assert len(by_depth(study.tasks)) == 5


def test_sets_are_condensed_with_the_best_rate(tmp_path: Path) -> None:
    study = declared(one_variant, DIGITS, CONFIG)
    run = run_study(study, tmp_path, workers=INLINE)
    assert not run.outcome.failed
    store = Store(tmp_path / "cells")
    searched, search, _ = parts(study)
    selected = store.record(task_key(search))["result"]
    means = {rate: sum(found) / len(found) for rate, found in selected["held_out"]}
    assert list(means) == list(RATES)
    assert means[selected["image_lr"]] == max(means.values())
    for task in searched:
        result = store.record(task_key(task))["result"]
        assert result["image_lr"] == selected["image_lr"]
        plain = replace(task.base, method=replace(task.base.method, image_lr=selected["image_lr"]))
        alone = plain.run(StoreWorkspace(Store(tmp_path / "alone"), "cpu"))
        assert result["fingerprint"] == alone["fingerprint"]
    again = run_study(study, tmp_path, workers=INLINE)
    assert not again.outcome.computed
    assert collect(study, store).entries == run.result.entries


@pytest.mark.parametrize(("better", "selected"), [(0, 0.1), (1, 3.0), (None, 0.1)])
def test_the_search_takes_the_best_rate_and_the_first_of_equal_ones(
    tmp_path: Path, better: int | None, selected: float
) -> None:
    _, search, trials = parts(declared(one_variant, DIGITS, CONFIG))
    store = Store(tmp_path)
    for number, trial in enumerate(trials):
        is_better = better is not None and number // 4 == better
        store.finish(task_key(trial), {"result": {"accuracy": 0.5 + 0.1 * (number % 2) + 0.01 * is_better}})
    assert search.run(StoreWorkspace(store, "cpu"))["image_lr"] == selected


def test_a_variant_with_its_own_rate_has_no_search() -> None:
    study = declared(lambda tasks: one_variant(tasks, image_lr=0.7), DIGITS, CONFIG)
    source = study.tasks[0].inputs[0]
    assert isinstance(source, Condense)
    assert source.method.image_lr == 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_lrs": (0.1, -1.0)}, "image_lrs are 0.1, -1.0, but must be distinct numbers above 0"),
        ({"image_lrs": (0.1, 0.1)}, "image_lrs are 0.1, 0.1, but must be distinct"),
        ({"image_lr_scale": 5.0}, "together with another image learning rate"),
        ({"method": GradientMatchingConfig(image_lr=0.2)}, "together with another image learning rate"),
        ({"search_seeds": 0}, "search_seeds is 0, but must be 1 or more"),
        ({"search_repeats": 0}, "search_repeats is 0, but must be 1 or more"),
        ({"kept": (0.0,)}, "percentages must lie above 0 and below 100"),
        ({"kept": (100.0,)}, "percentages must lie above 0 and below 100"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **changes)


def test_two_kinds_of_held_out_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"validation_fraction already is 0.2: leave one of them out"):
        declared(one_variant, replace(DIGITS, validation_fraction=0.2), CONFIG)
