"""Learning rates that arms choose on held-out images: what is chosen, on which images, and what is learned with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.condensation import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies import (
    CellFactory,
    DataSource,
    Study,
    StudyConfig,
    WorkersConfig,
    declared,
    run_study,
)
from datacondense.studies.cell import cell_key, waves
from datacondense.studies.cells import CondenseCell, EvaluateCell
from datacondense.studies.data_source import identified
from datacondense.studies.results import collect
from datacondense.studies.runner import RunPlace
from datacondense.studies.store import Store
from datacondense.studies.tuned import ChoiceCell, TunedCell

INLINE = WorkersConfig(backend="inline", threads=1)
RATES = (0.1, 3.0)
CONFIG = StudyConfig(
    draws=2,
    seeds=2,
    repeats=1,
    epochs=3,
    image_lrs=RATES,
    choice_seeds=2,
    choice_repeats=2,
    method=GradientMatchingConfig(network="convnet-w4-d1", real_batch=8),
)
DIGITS = DataSource(name="digits")


def one_arm(cells: CellFactory, **changes: Any) -> Study:
    return Study(
        name="one",
        title="?",
        rows=("arm",),
        columns=("itself",),
        row_axis="",
        column_axis="",
        entries={("arm", "itself"): cells.scored(cells.condensed(**changes), network="convnet-w4-d1")},
    )


def parts(study: Study) -> tuple[list[TunedCell], ChoiceCell, list[EvaluateCell]]:
    """Take a study with one arm apart."""
    cells = [cell for wave in waves(study.cells) for cell in wave.values()]
    tuned = [cell for cell in cells if isinstance(cell, TunedCell)]
    (choice,) = [cell for cell in cells if isinstance(cell, ChoiceCell)]
    trials = [cell for cell in choice.inputs if isinstance(cell, EvaluateCell)]
    return tuned, choice, trials


def test_the_choice_is_made_on_training_images_that_are_held_out() -> None:
    study = declared(one_arm, DIGITS, CONFIG)
    tuned, _, trials = parts(study)
    assert len(tuned) == 2
    assert len(trials) == 2 * 2 * 2  # rates, sets, networks
    test = identified(DIGITS).content["test"]
    for trial in trials:
        assert isinstance(trial.source, CondenseCell)
        assert trial.settings["images"]["test"] != test
        assert trial.source.data.validation_fraction == 0.1
        assert trial.source.seed not in {cell.untuned.seed for cell in tuned}
    assert [trial.source.method.image_lr for trial in trials if isinstance(trial.source, CondenseCell)] == [
        *[0.1] * 4,
        *[3.0] * 4,
    ]
    assert all(cell.recipe.seed < 10_000 for cell in study.cells)
    assert len(waves(study.cells)) == 5


def test_what_is_learned_is_learned_with_what_was_chosen(tmp_path: Path) -> None:
    study = declared(one_arm, DIGITS, CONFIG)
    run = run_study(study, tmp_path, workers=INLINE)
    assert not run.outcome.failed
    store = Store(tmp_path / "cells")
    tuned, choice, _ = parts(study)
    chosen = store.record(cell_key(choice))["result"]
    means = {rate: sum(found) / len(found) for rate, found in chosen["held_out"]}
    assert list(means) == list(RATES)
    assert means[chosen["image_lr"]] == max(means.values())
    for cell in tuned:
        result = store.record(cell_key(cell))["result"]
        assert result["image_lr"] == chosen["image_lr"]
        plain = replace(cell.untuned, method=replace(cell.untuned.method, image_lr=chosen["image_lr"]))
        alone = plain.run(RunPlace(Store(tmp_path / "alone"), "cpu"))
        assert result["fingerprint"] == alone["fingerprint"]
    again = run_study(study, tmp_path, workers=INLINE)
    assert not again.outcome.computed
    assert collect(study, store).entries == run.result.entries


@pytest.mark.parametrize(("better", "chosen"), [(0, 0.1), (1, 3.0), (None, 0.1)])
def test_the_best_rate_is_taken_and_the_first_among_equal_ones(
    tmp_path: Path, better: int | None, chosen: float
) -> None:
    _, choice, trials = parts(declared(one_arm, DIGITS, CONFIG))
    store = Store(tmp_path)
    for number, trial in enumerate(trials):
        is_better = better is not None and number // 4 == better
        store.finish(cell_key(trial), {"result": {"accuracy": 0.5 + 0.1 * (number % 2) + 0.01 * is_better}})
    assert choice.run(RunPlace(store, "cpu"))["image_lr"] == chosen


def test_an_arm_with_its_own_rate_has_no_choice() -> None:
    study = declared(lambda cells: one_arm(cells, image_lr=0.7), DIGITS, CONFIG)
    source = study.cells[0].inputs[0]
    assert isinstance(source, CondenseCell)
    assert source.method.image_lr == 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_lrs": (0.1, -1.0)}, "image_lrs are 0.1, -1.0, but must be different numbers above 0"),
        ({"image_lrs": (0.1, 0.1)}, "image_lrs are 0.1, 0.1, but must be different"),
        ({"image_lr_scale": 5.0}, "beside another image learning rate"),
        ({"method": GradientMatchingConfig(image_lr=0.2)}, "beside another image learning rate"),
        ({"choice_seeds": 0}, "choice_seeds is 0, but must be 1 or more"),
        ({"choice_repeats": 0}, "choice_repeats is 0, but must be 1 or more"),
        ({"kept": (0.0,)}, "percentages lie above 0 and below 100"),
        ({"kept": (100.0,)}, "percentages lie above 0 and below 100"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **changes)


def test_two_sorts_of_held_out_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"validation_fraction is 0.2 already: leave one of them out"):
        declared(one_arm, replace(DIGITS, validation_fraction=0.2), CONFIG)
