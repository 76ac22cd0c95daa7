"""An objective for an Optuna study of the user's own: networks trained on a small set, scored on held-out images."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from datacondense.applications.search_space import SearchSpace, suggested
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate_one, resolved
from datacondense.image_set import ImageSet
from datacondense.training import DivergedError

if TYPE_CHECKING:
    from optuna import Trial

_NOT_SUGGESTED = {"network", "repeats", "seed"}


def objective(
    images: ImageSet,
    protocol: EvaluationConfig | None = None,
    *,
    held_out: ImageSet,
    space: SearchSpace | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> "Callable[[Trial], float]":
    """Return the objective of an Optuna study that is to be maximised.

    Each trial suggests an architecture and hyper-parameters, trains `repeats` networks on the images, and reports the
    mean accuracy on the held-out images after each, so that pruners can stop it. Training that diverges counts as 0.

    Args:
        images: What networks are trained on: a condensed set, a selection, or all training images.
        protocol: How they are trained; None means the published protocol.
        held_out: Images that rank the trials. They should be neither those that `images` were made from nor test
            images: see `hold_out`.
        space: The architectures to choose from; None keeps the network of the protocol.
        hyperparameters: Fields of `EvaluationConfig`, such as lr, momentum, weight_decay, batch_size or epochs, each
            with an Optuna distribution, or a function of the trial that returns the value.
        device: Where to compute.

    Returns:
        From a trial to the mean accuracy, 0 to 1.

    Raises:
        InputError: A field is unknown or cannot be suggested, or a network does not fit the images.
    """
    given, choices = protocol or EvaluationConfig(), dict(hyperparameters or {})
    known = [each.name for each in fields(EvaluationConfig) if each.name not in _NOT_SUGGESTED]
    for name in choices:
        if name not in known:
            raise InputError(f"{name!r} is no hyper-parameter: choose from {', '.join(known)}.")
    if space is not None:
        space.check(images.image_shape, images.num_classes)

    def trained(trial: "Trial") -> float:
        changes = {name: _suggested(trial, name, choice) for name, choice in choices.items()}
        if space is not None:
            changes["network"] = suggested(trial, space)
        settings = resolved(replace(given, **changes), images, held_out)
        accuracies: list[float] = []
        for repeat in range(settings.repeats):
            if accuracies and trial.should_prune():
                from optuna import TrialPruned  # noqa: PLC0415 — an extra

                raise TrialPruned
            try:
                accuracies.append(evaluate_one(images, held_out, settings, repeat, device=device))
            except DivergedError:
                accuracies.append(0.0)
            trial.report(fmean(accuracies), repeat)
        return fmean(accuracies)

    return trained


def _suggested(trial: "Trial", name: str, choice: Any) -> Any:
    """Return the value of a hyper-parameter that a function or a distribution suggests."""
    if callable(choice):
        return choice(trial)
    from optuna.distributions import (  # noqa: PLC0415 — an extra
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(choice, FloatDistribution):
        return trial.suggest_float(name, choice.low, choice.high, step=choice.step, log=choice.log)
    if isinstance(choice, IntDistribution):
        return trial.suggest_int(name, choice.low, choice.high, step=choice.step, log=choice.log)
    if isinstance(choice, CategoricalDistribution):
        return trial.suggest_categorical(name, choice.choices)
    raise InputError(f"{name} has {choice!r}: give an Optuna distribution, or a function of the trial.")
