"""Learning-rate search on held-out images, and sets with the time budget of another one."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datacondense.condensation import loop
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.running import declared, run_study
from datacondense.studies.study import Study
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import graph_of, inputs_of
from datacondense.tasks.workers import WorkersConfig
from tests.tasks.made_tasks import MNIST, finish

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
INLINE = WorkersConfig(backend="inline", threads=1)
TASKS = TaskFactory(data=MNIST, config=CONFIG, held_out=replace(MNIST, validation_fraction=0.1))
NOISE_AWARE = replace(CONFIG, seeds=1, search_seeds=1, search_repeats=1, rows=("class-collective",))


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


def parts(study: Study) -> tuple[list[Condense], SearchLearningRate, list[Evaluate]]:
    """Take a study with one variant apart."""
    tasks = graph_of(study.tasks).values()
    searched = [task for task in tasks if isinstance(task, Condense) and task.search is not None]
    (search,) = [task for task in tasks if isinstance(task, SearchLearningRate)]
    return searched, search, [task for task in inputs_of(search) if isinstance(task, Evaluate)]


def test_the_search_uses_held_out_training_images() -> None:
    study = declared(one_variant, DIGITS, CONFIG)
    searched, _, trials = parts(study)
    assert (len(searched), len(trials)) == (2, 2 * 2 * 2)  # rates, sets, networks
    test = identified(DIGITS).content["test"]
    for trial in trials:
        assert trial.data.content["test"] != test
        assert trial.source.data.validation_fraction == 0.1
        assert trial.source.seed not in {task.seed for task in searched}
    assert [trial.source.method.image_lr for trial in trials] == [*[0.1] * 4, *[3.0] * 4]
    assert all(task.protocol.seed < 10_000 for task in study.tasks)


def test_sets_are_condensed_with_the_best_rate(tmp_path: Path) -> None:
    study = declared(one_variant, DIGITS, CONFIG)
    assert not run_study(study, tmp_path, workers=INLINE).outcome.failed
    workspace = Workspace(Store(tmp_path / "cells"))
    searched, search, _ = parts(study)
    selected = workspace.result(search)
    means = {rate: sum(found) / len(found) for rate, found in selected["held_out"]}
    assert list(means) == list(RATES)
    assert means[selected["image_lr"]] == max(means.values())
    for task in searched:
        result = workspace.result(task)
        assert result["image_lr"] == selected["image_lr"]
        plain = replace(task, search=None, method=replace(task.method, image_lr=selected["image_lr"]))
        assert result["fingerprint"] == plain.run(Workspace(Store(tmp_path / "alone")))["fingerprint"]
    assert not run_study(study, tmp_path, workers=INLINE).outcome.computed


@pytest.mark.parametrize(("better", "selected"), [(0, 0.1), (1, 3.0), (None, 0.1)])
def test_the_search_takes_the_best_rate_and_the_first_of_equal_ones(
    tmp_path: Path, better: int | None, selected: float
) -> None:
    _, search, trials = parts(declared(one_variant, DIGITS, CONFIG))
    store = Store(tmp_path)
    for number, trial in enumerate(trials):
        is_better = better is not None and number // 4 == better
        finish(store, trial, {"accuracy": 0.5 + 0.1 * (number % 2) + 0.01 * is_better})
    assert search.run(Workspace(store))["image_lr"] == selected


def test_a_variant_with_its_own_rate_has_no_search() -> None:
    (source,) = inputs_of(declared(lambda tasks: one_variant(tasks, image_lr=0.7), DIGITS, CONFIG).tasks[0])
    assert isinstance(source, Condense)
    assert (source.method.image_lr, source.search) == (0.7, None)


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


# Time budgets.


def searched(seed: int = 0, budget: Condense | None = None, **changes: Any) -> Condense:
    """Declare one set."""
    source = None if budget is None else lambda _: budget
    task = TASKS.condensed(time_budget_from=source, **changes)(seed)
    assert isinstance(task, Condense)
    return task


def timed_set(study: Study) -> Condense:
    """Return a set that has the time budget of plain matching."""
    task = study.entries["class-collective", "equal seconds"][0]
    assert isinstance(task, Evaluate)
    assert isinstance(task.source, Condense)
    return task.source


def recorded(folder: Path, timed: Condense, *, rate: float, seconds: float) -> Workspace:
    """Record by hand what a timed set reads: the best learning rate, and the seconds that were spent."""
    store = Store(folder)
    results = {"image_lr": rate}, {"condensing_seconds": seconds}
    for task, result in zip(inputs_of(timed), results, strict=True):
        finish(store, task, result)
    return Workspace(store)


def test_inputs_are_the_search_and_the_set_of_the_same_seed_that_gives_the_time() -> None:
    plain, collective = searched(), searched(class_collective=True)
    timed = searched(budget=plain, class_collective=True)
    assert inputs_of(collective) == (collective.search,)
    assert inputs_of(timed) == (collective.search, plain)
    assert (collective.iterations, timed.iterations) == (2, None)
    assert timed == replace(collective, iterations=None, time_budget_from=plain)
    assert len({task.label for task in (plain, collective, timed)}) == 3
    for seed in range(2):
        task = TASKS.condensed(time_budget_from=TASKS.condensed(), class_collective=True)(seed)
        assert task == searched(seed, budget=searched(seed), class_collective=True)
    unsearched = TaskFactory(data=MNIST, config=replace(CONFIG, image_lrs=()))
    alone = unsearched.condensed(time_budget_from=unsearched.condensed(), class_collective=True)(4)
    assert isinstance(alone, Condense)
    assert (alone.search, alone.time_budget_from) == (None, unsearched.condensed()(4))
    assert alone.method.image_lr == 0.1


def test_more_seconds_give_more_iterations_with_the_rate_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = declared(find_study("noise-aware"), DIGITS, replace(NOISE_AWARE, image_lrs=(0.1,)))
    timed = timed_set(study)
    iterations = []
    for seconds in (5.0, 25.123456):
        # A clock that advances one second whenever it is read.
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=count().__next__))
        workspace = recorded(tmp_path / str(seconds), timed, rate=3.0, seconds=seconds)
        found = timed.run(workspace)
        record = timed.image_set(workspace).provenance
        assert record["iterations_done"] == found["iterations"]
        limit = RunConfig(time_limit=record["run"]["time_limit"]).time_limit_seconds
        assert limit == pytest.approx(seconds, abs=1e-6)
        assert record["settings"]["image_lr"] == found["image_lr"] == 3.0
        assert seconds / 2 < found["condensing_seconds"] <= seconds
        iterations.append(found["iterations"])
    assert 1 <= iterations[0] < iterations[1] / 2


def test_the_study_of_noise_aware_matching_from_end_to_end(tmp_path: Path) -> None:
    study = declared(find_study("noise-aware"), DIGITS, NOISE_AWARE)
    assert study.rows == ("plain", "class-collective")
    run = run_study(study, tmp_path, workers=INLINE)
    assert not run.outcome.failed
    assert study.entries["plain", "equal iterations"] == study.entries["plain", "equal seconds"]
    timed, workspace = timed_set(study), Workspace(Store(tmp_path / "cells"))
    assert timed.time_budget_from is not None
    spent = workspace.result(timed.time_budget_from)["condensing_seconds"]
    condensed = ImageSet.load(workspace.folder(timed) / "condensed.safetensors")
    limit = RunConfig(time_limit=condensed.provenance["run"]["time_limit"]).time_limit_seconds
    assert limit == pytest.approx(spent, abs=1e-6)
    assert workspace.result(timed)["iterations"] == condensed.provenance["iterations_done"] > 0
    assert not run_study(study, tmp_path, workers=INLINE).outcome.computed
