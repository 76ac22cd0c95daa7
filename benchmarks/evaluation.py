"""Seconds to evaluate networks on ten images per class with augmentation, plain against the library.

    python benchmarks/evaluation.py --pairs 6

The paper's protocol trains 20 networks for 1000 epochs each, then passes 20 times over 10,000 test images. Only a part
is timed. Plain: some epochs and one test pass of one network. The library: two full calls of `evaluate` with different
numbers of epochs and several networks; their difference gives the epochs, the rest is the test pass and the overhead of
a call. The time of the full protocol is extrapolated, and the record says so. The images are MNIST's where
DATACONDENSE_DATA is set, else noise.
"""

import argparse
import os
import time
from typing import Any

import measure
import numpy as np
import plain
from comparison import compare, pair_points
from library import add_settings, random_set, settings

from datacondense import DataConfig, EvaluationConfig, ImageSet, evaluate, load, select_random
from datacondense.allocator import keep_freed_memory

STRATEGY = "crop-scale-rotate"
NETWORKS, EPOCHS = 20, 1000


def image_sets(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    """Return the set to train on and the test images."""
    if os.environ.get("DATACONDENSE_DATA"):
        splits = load("mnist", DataConfig())
        assert splits.test is not None
        train, test = splits.train, splits.test
    else:
        train, test = (random_set((1, 28, 28), 10, 1000) for _ in range(2))
    step = max(1, len(test) // options.test_images)
    return select_random(train, options.ipc, 0), test.subset(test.labels.argsort(stable=True)[::step])


def time_plain(options: argparse.Namespace) -> measure.Row:
    """Time epochs and a test pass of one plain network."""
    train, test = image_sets(options)
    images, test_images = train.normalised(), test.normalised()
    network = plain.ConvNet(train.image_shape, train.num_classes)
    optimiser, rng = plain.evaluation_optimiser(network), np.random.default_rng(0)

    def epoch() -> None:
        plain.train_epoch(network, images, train.labels, optimiser, rng)

    epoch()
    plain.test_accuracy(network, test_images[: plain.BATCH], test.labels[: plain.BATCH])
    epochs = sum(measure.seconds_of(epoch) for _ in range(options.epochs))
    passing = measure.seconds_of(lambda: plain.test_accuracy(network, test_images, test.labels))
    return {"seconds_epoch": epochs / options.epochs, "seconds_test": passing}


def time_ours(options: argparse.Namespace) -> measure.Row:
    """Time two calls of the library with different numbers of epochs, after a short one."""
    keep_freed_memory()
    train, test = image_sets(options)

    environment: dict[str, Any] = {}

    def seconds(epochs: int) -> float:
        config = EvaluationConfig(
            network="convnet",
            repeats=options.repeats,
            epochs=epochs,
            augmentation=STRATEGY,
            **settings(options.set),
        )
        began = time.perf_counter()
        environment.update(evaluate(train, test, config).environment)
        return time.perf_counter() - began

    warm_up = seconds(2)
    short, long = options.epochs, 3 * options.epochs
    few, many = seconds(short), seconds(long)
    epoch = (many - few) / (long - short) / options.repeats
    return {
        "seconds_epoch": epoch,
        "seconds_test": few / options.repeats - short * epoch,
        "seconds_warm_up": warm_up,
        "seconds_calls": {str(short): few, str(long): many},
        "environment": environment,
    }


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one variant in this process."""
    row = time_plain(options) if point["variant"] == "plain" else time_ours(options)
    extrapolated = NETWORKS * (EPOCHS * row["seconds_epoch"] + row["seconds_test"])
    return {**row, "seconds_extrapolated": extrapolated, "megabytes_peak": measure.peak_megabytes()}


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Compare epochs, test passes and extrapolated totals of the variants."""
    rows = record["rows"]
    return {
        "images": "MNIST" if os.environ.get("DATACONDENSE_DATA") else "noise",
        "seconds_per_epoch_and_network": compare(rows, "seconds_epoch"),
        "seconds_per_test_pass": compare(rows, "seconds_test"),
        "seconds_extrapolated": {
            "how": f"{NETWORKS} networks x ({EPOCHS} epochs + 1 test pass), extrapolated from the measured "
            f"{options.epochs} epochs (library: {2 * options.epochs}, of {options.repeats} networks), not run",
            **compare(rows, "seconds_extrapolated"),
        },
        "megabytes_peak": compare(rows, "megabytes_peak"),
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "evaluation")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument(
        "--epochs", type=int, default=20, help="timed epochs; the library runs 1 and 3 times as many"
    )
    parser.add_argument("--repeats", type=int, default=2, help="networks per call of the library")
    add_settings(parser, "--set", EvaluationConfig)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--test-images", type=int, default=10_000)
    options = parser.parse_args()
    measure.benchmark(options, pair_points(options.pairs), one_process, summarise)


if __name__ == "__main__":
    main()
