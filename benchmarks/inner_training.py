"""Seconds to train the network between two matching steps: ipc 10, 50 epochs over 100 images.

    python benchmarks/inner_training.py --pairs 10

The library's training is timed within its own steps, with one real image per class. --repeats trainings are timed.
"""

from functools import partial
from typing import Any
from unittest.mock import patch

import measure
import plain
import torch
from library import MatchingSteps, random_set

from datacondense.condensation import gradient_matching
from datacondense.training import train


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure one variant in this process."""
    if point["variant"] == "datacondense":
        return time_ours(options)
    labels = torch.arange(options.classes).repeat_interleave(options.ipc)
    images, net = torch.randn(len(labels), *options.shape), plain.ConvNet(options.shape, options.classes)
    return measure.timed(partial(plain.inner_training, net, images, labels, options.epochs), options.repeats)


def time_ours(options: measure.Options) -> measure.Row:
    """Time the calls of `train` within full steps."""
    given = {"real_batch": 1, "matching_steps": 2, "network_epochs": options.epochs}
    step = MatchingSteps(options, random_set(options.shape, options.classes, 1), ipc=options.ipc, **given)
    times, results = list[float](), list[Any]()

    def timed_train(*arguments: Any, **named: Any) -> Any:
        times.append(measure.seconds_of(lambda: results.append(train(*arguments, **named))))
        return results.pop()

    with patch.object(gradient_matching, "train", timed_train):
        for _ in range(1 + options.repeats):
            step()
    return {**measure.timing(times), **step.backend}


if __name__ == "__main__":
    measure.benchmark(
        "inner-training", one_process, pairs=10, repeats=2, epochs=50, shape=(3, 32, 32), precision="bfloat16",
        set=[str], classes=10, ipc=10,
    )  # fmt: skip
