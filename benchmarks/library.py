"""How the benchmarks call the library: sets to measure on, single matching steps, settings from text."""

import argparse
import ast
import time
from collections.abc import Sequence
from typing import Any

import torch

from datacondense import (
    DataConfig,
    EvaluationConfig,
    GradientMatchingConfig,
    ImageSet,
    RunConfig,
    condense,
    load,
)
from datacondense.allocator import keep_freed_memory
from datacondense.condensation.state import Step

Shape = tuple[int, int, int]


def image_shape(text: str) -> Shape:
    """Read a shape such as 3x32x32."""
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def random_set(shape: Shape, num_classes: int, per_class: int) -> ImageSet:
    """Return a set of noise images; their content does not change the time."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    return ImageSet(
        images=torch.randint(0, 256, (len(labels), *shape), generator=generator, dtype=torch.uint8),
        labels=labels,
        class_names=tuple(map(str, range(num_classes))),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )


class MatchingSteps:
    """Matching steps, each the first on a fresh network; freed memory is kept, as the command line does."""

    def __init__(self, train: ImageSet, config: GradientMatchingConfig) -> None:
        keep_freed_memory()
        self._method = config.build(train, seed=0)
        self._state, self._iteration = self._method.init(), 0
        self.engine, self.precision = self._method.backend

    def __call__(self) -> float:
        """Run one step and return its loss."""
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


def add_settings(parser: argparse.ArgumentParser, name: str, config: type) -> None:
    """Add an option that sets any field of a config."""
    text = f"settings of {config.__name__}"
    parser.add_argument(name, nargs="*", default=[], metavar="NAME=VALUE", help=text)


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the options that set what is condensed and how it is scored."""
    parser.add_argument("--dataset", default="mnist")
    add_settings(parser, "--set", GradientMatchingConfig)
    add_settings(parser, "--evaluation", EvaluationConfig)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=20, help="networks per evaluation")
    parser.add_argument("--epochs", type=int, default=None, help="of each evaluation; default: as published")
    parser.add_argument(
        "--fraction", type=float, default=0.1, help="of the training images held out for validation"
    )


def loaded(dataset: str) -> tuple[ImageSet, ImageSet, float]:
    """Return training images, test images and the seconds to load them."""
    began = time.perf_counter()
    splits = load(dataset, DataConfig())
    assert splits.test is not None, "the data set needs test images"
    return splits.train, splits.test, time.perf_counter() - began


def condensed(
    train: ImageSet, method: GradientMatchingConfig, seed: int, iterations: int
) -> tuple[ImageSet, float]:
    """Return the condensed set and the seconds it took."""
    began = time.perf_counter()
    images = condense(train, method, RunConfig(seed=seed, iterations=iterations))
    return images, time.perf_counter() - began


def protocol(options: argparse.Namespace, seed: int) -> EvaluationConfig:
    """Return the evaluation that the options describe."""
    given = settings(options.evaluation)
    return EvaluationConfig(**{"repeats": options.repeats, "epochs": options.epochs, "seed": seed, **given})
