"""An objective in an Optuna study of the user's own."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import datacondense
from datacondense import EvaluationConfig, ImageSet, InputError, SearchSpace, objective
from datacondense.evaluation.scoring import evaluate

SPACE = SearchSpace(widths=(4, 8), depths=(1,), norms=("none",), activations=("relu",), poolings=("max",))
QUICK = EvaluationConfig(repeats=2, epochs=5, augmentation="none")


@pytest.fixture
def sets(make: Callable[..., ImageSet]) -> tuple[ImageSet, ImageSet]:
    return make(per_class=4), make(per_class=10, seed=1)


def test_a_study_of_ones_own_chooses_architecture_and_hyperparameters(
    sets: tuple[ImageSet, ImageSet],
) -> None:
    images, held_out = sets
    rates = {
        "lr": FloatDistribution(0.001, 0.1, log=True),
        "batch_size": IntDistribution(4, 8),
        "momentum": CategoricalDistribution([0.0, 0.9]),
        "epochs": lambda trial: 2 * trial.suggest_int("double_epochs", 1, 3),
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        objective(images, QUICK, held_out=held_out, space=SPACE, hyperparameters=rates), n_trials=3
    )
    assert set(study.best_params) == {*SPACE.choices, "lr", "batch_size", "momentum", "double_epochs"}
    for trial in study.trials:
        assert len(trial.intermediate_values) == 2
        settings: dict[str, Any] = {name: trial.params[name] for name in ("lr", "batch_size", "momentum")}
        network = next(
            name for name, each in SPACE.architectures.items() if each["width"] == trial.params["width"]
        )
        config = EvaluationConfig(
            network=network,
            repeats=2,
            epochs=2 * trial.params["double_epochs"],
            augmentation="none",
            **settings,
        )
        assert trial.value == evaluate(images, held_out, config).mean


def test_a_pruner_stops_between_networks(sets: tuple[ImageSet, ImageSet]) -> None:
    images, held_out = sets
    pruner = optuna.pruners.ThresholdPruner(lower=1.1)  # which no accuracy reaches
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective(images, QUICK, held_out=held_out, space=SPACE), n_trials=1)
    (trial,) = study.trials
    assert trial.state.name == "PRUNED"
    assert list(trial.intermediate_values) == [0]


def test_training_that_diverges_loses(sets: tuple[ImageSet, ImageSet]) -> None:
    images, held_out = sets
    hot = objective(images, EvaluationConfig(repeats=1, epochs=20, lr=1e30), held_out=held_out)
    assert hot(optuna.create_study(direction="maximize").ask()) == 0


def test_wrong_hyperparameters_are_refused(sets: tuple[ImageSet, ImageSet]) -> None:
    images, held_out = sets
    with pytest.raises(InputError, match="'rate' is no hyper-parameter: choose from epochs, augmentation"):
        objective(images, held_out=held_out, hyperparameters={"rate": FloatDistribution(0, 1)})
    trained = objective(images, QUICK, held_out=held_out, hyperparameters={"lr": 0.1})
    with pytest.raises(InputError, match=r"lr has 0.1: give an Optuna distribution"):
        trained(optuna.create_study().ask())
    with pytest.raises(InputError, match="8x8"):
        objective(images, held_out=held_out, space=SearchSpace())
    assert datacondense.objective is objective
