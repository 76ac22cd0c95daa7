"""How the benchmarks call the library: sets to measure on, single matching steps, settings from text."""

import ast
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from measure import Options

import datacondense
from datacondense import (
    EvaluationConfig,
    GradientMatchingConfig,
    ImageSet,
    RunConfig,
    condense,
    evaluate,
    hold_out,
)
from datacondense.condensation.state import Step

# `set` has settings of the method, such as image_lr=0.5, `evaluation` those of the protocol; `fraction` is held out.
EXPERIMENT: dict[str, Any] = {"dataset": "mnist", "set": [str], "evaluation": [str], "seeds": [0, 1, 2]}
EXPERIMENT |= {"repeats": 20, "epochs": int, "fraction": 0.1}


def random_set(shape: tuple[int, ...], num_classes: int, per_class: int) -> ImageSet:
    """Return a set of noise images; their content does not change the time."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    images = torch.randint(0, 256, (len(labels), *shape), generator=generator, dtype=torch.uint8)
    names, mean, std = tuple(map(str, range(num_classes))), (0.5,) * shape[0], (0.25,) * shape[0]
    return ImageSet(images=images, labels=labels, class_names=names, mean=mean, std=std)


class MatchingSteps:
    """Matching steps, each the first on a fresh network."""

    def __init__(
        self, options: Options, train: ImageSet, config: type[Any] = GradientMatchingConfig, **given: Any
    ) -> None:
        settled = config(precision=options.precision, **given, **settings(options.set))
        self._method = settled.build(train, seed=0)
        self._state, self._iteration = self._method.init(), 0
        self.backend = self._method.backend._asdict()

    def __call__(self) -> float:
        """Run one step and return its loss."""
        loss: float
        self._state, loss = self._method.step(self._state, Step(self._iteration, 0))
        self._iteration += 1
        return loss


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read settings such as image_lr=0.5 start=real: Python literals, else text."""
    read: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            read[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            read[name] = value
    return read


def loaded(dataset: str) -> tuple[ImageSet, ImageSet]:
    """Return training and test images."""
    splits = datacondense.load(dataset)
    assert splits.test is not None, "the data set needs test images"
    return splits.train, splits.test


def protocol(options: Options, seed: int, *given: str) -> EvaluationConfig:
    """Return the evaluation that the options describe, with further settings."""
    more = settings([*options.evaluation, *given])
    return EvaluationConfig(**{"repeats": options.repeats, "epochs": options.epochs, "seed": seed, **more})


def trial(
    options: Options, seed: int, *given: str, scoring: Sequence[str] = (), on: str = "test"
) -> dict[str, Any]:
    """Condense with one seed and further settings, and score on the test images or on held-out ones."""
    ends = [perf_counter()]
    train, test = loaded(options.dataset)
    if on == "validation":
        train, test = hold_out(train, options.fraction, 0)
    ends.append(perf_counter())
    method = GradientMatchingConfig(**settings([*options.set, *given]))
    images = condense(train, method, RunConfig(seed=seed, iterations=options.iterations))
    ends.append(perf_counter())
    score = evaluate(images, test, protocol(options, seed, *scoring)).as_dict()
    ends.append(perf_counter())
    loading, condensing, scored = (after - before for before, after in pairwise(ends))
    seconds = {"seconds_loading": loading, "seconds": condensing, "seconds_scoring": scored}
    made = {"score": score, "fingerprint": images.fingerprint, "method": asdict(method.resolved())}
    return {"iterations": options.iterations, **seconds, **made}
