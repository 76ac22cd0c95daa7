"""Seconds to train the network between two matching steps; the library's training is timed within its own steps.

python benchmarks/inner_training.py --pairs 10
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


def time_ours(options: measure.Options) -> measure.Row:
    """Time the calls of `train` within full steps."""
    given = {"real_batch": 1, "matching_steps": 2, "network_epochs": options.epochs}
    step = MatchingSteps(options, random_set(options.shape, options.classes, 1), ipc=options.ipc, **given)
    times, results = list[float](), list[Any]()

    def timed_train(*arguments: Any, **named: Any) -> Any:
        times.append(measure.seconds_of(lambda: results.append(train(*arguments, **named))))
        return results.pop()

    def seconds(_: object) -> float:
        step()
        return times[-1]

    with patch.object(gradient_matching, "train", timed_train):
        return {**measure.timed(step, options.repeats, seconds), **step.backend}


@measure.benchmark(
    "inner-training", pairs=10, repeats=2, epochs=50, shape=(3, 32, 32), precision="bfloat16",
    set=[str], classes=10, ipc=10,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    if point["variant"] == "datacondense":
        return time_ours(options)
    labels = torch.arange(options.classes).repeat_interleave(options.ipc)
    images, net = torch.randn(len(labels), *options.shape), plain.ConvNet(options.shape, options.classes)
    return measure.timed(partial(plain.inner_training, net, images, labels, options.epochs), options.repeats)
