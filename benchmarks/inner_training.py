"""Seconds to train the network between two matching steps: ipc 10, 50 epochs over 100 images.

    python benchmarks/inner_training.py --pairs 10

Compares plain with the library in interleaved pairs of processes; the library's training is timed within its own steps.
"""

import argparse
import time
from statistics import median
from typing import Any
from unittest.mock import patch

import measure
import plain
import torch
from comparison import VARIANTS, compare, pair_points
from library import MatchingSteps, add_settings, image_shape, random_set, settings
from matching_step import formulas, share_of_ceiling, step_operations

from datacondense import GradientMatchingConfig
from datacondense.condensation import gradient_matching
from datacondense.training import train


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one variant in this process."""
    labels = torch.arange(options.classes).repeat_interleave(options.ipc)
    images = torch.randn(len(labels), *options.shape)
    if point["variant"] == "plain":
        net = plain.ConvNet(options.shape, options.classes)
        return measure.timed(
            lambda: plain.inner_training(net, images, labels, options.epochs), options.repeats
        )
    return time_ours(options)


def time_ours(options: argparse.Namespace) -> measure.Row:
    """Time the calls of `train` within full steps, whose matching is kept small: one real image per class."""
    config = GradientMatchingConfig(
        ipc=options.ipc,
        real_batch=1,
        matching_steps=2,
        network_epochs=options.epochs,
        precision=options.precision,
        **settings(options.set),
    )
    step = MatchingSteps(random_set(options.shape, options.classes, 1), config)
    times: list[float] = []

    def timed_train(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        result = train(*arguments, **named)
        times.append(time.perf_counter() - began)
        return result

    with patch.object(gradient_matching, "train", timed_train):
        for _ in range(1 + options.repeats):
            step()
    return {
        "seconds": median(times[1:]),
        "seconds_each": times[1:],
        "seconds_warm_up": times[0],
        "megabytes_peak": measure.peak_megabytes(),
        "engine": step.engine,
        "precision": step.precision,
    }


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Compare the variants, and the library with the ceiling of the machine."""
    times = compare(record["rows"], "seconds")
    one_epoch = step_operations(options.shape, options.classes, options.ipc)
    operations = {kind: count * options.epochs for kind, count in one_epoch.items()}
    seconds = times["datacondense"]["median"]
    rates = record["ceilings"]["convolution_gflops"]
    return {
        "seconds": times,
        "megabytes_peak": compare(record["rows"], "megabytes_peak"),
        "seconds_per_epoch": {name: times[name]["median"] / options.epochs for name in VARIANTS},
        "operations": operations,
        "gflops": sum(operations.values()) / seconds / 1e9,
        "share_of_ceiling": {
            name: share_of_ceiling(operations, gflops, seconds) for name, gflops in rates.items()
        },
        "formulas": formulas(step_operations, share_of_ceiling),
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "inner-training")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2, help="timed trainings per process")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--shape", type=image_shape, default=(3, 32, 32), help="such as 1x28x28")
    parser.add_argument("--precision", default="bfloat16", help="of the library")
    add_settings(parser, "--set", GradientMatchingConfig)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--ipc", type=int, default=10)
    options = parser.parse_args()
    measure.benchmark(options, pair_points(options.pairs), one_process, summarise)


if __name__ == "__main__":
    main()
