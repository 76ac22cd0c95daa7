"""Seconds to evaluate networks on ten images per class with augmentation, plain against the library.

    python benchmarks/evaluation.py --pairs 6

The paper's protocol is extrapolated: plain from --epochs epochs and a test pass of one network; the library from two
calls with 1 and 3 times as many epochs. The images are MNIST's where DATACONDENSE_DATA is set, else noise.
"""

import os

import measure
import numpy as np
import plain
import torch
from library import loaded, random_set, settings
from numpy.random import Generator

from datacondense import EvaluationConfig, ImageSet, evaluate, select_random

NETWORKS, EPOCHS = 20, 1000


def image_sets(options: measure.Options) -> tuple[ImageSet, ImageSet]:
    """Return the set to train on and the test images."""
    noise = random_set((1, 28, 28), 10, 1000)
    train, test = loaded("mnist") if os.environ.get("DATACONDENSE_DATA") else (noise, noise)
    step = max(1, len(test) // options.test_images)
    return select_random(train, options.ipc, 0), test.subset(test.labels.argsort(stable=True)[::step])


def time_plain(images: ImageSet, test: ImageSet, epochs: int, rng: Generator | None = None) -> measure.Row:
    """Time epochs, with augmentation if a generator is given, and a test pass of one plain network."""
    inputs, tested, device = images.normalised(), test.normalised(), images.images.device
    network = plain.ConvNet(images.image_shape, images.num_classes).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def epoch() -> None:
        plain.train_epoch(network, inputs, images.labels, optimiser, rng)

    epoch()
    plain.test_accuracy(network, tested[: plain.BATCH], test.labels[: plain.BATCH])
    seconds = sum(measure.seconds_of(epoch) for _ in range(epochs)) / epochs
    passing = measure.seconds_of(lambda: plain.test_accuracy(network, tested, test.labels))
    return {"seconds_epoch": seconds, "seconds_test": passing}


def time_ours(options: measure.Options) -> measure.Row:
    """Time two calls of the library with different numbers of epochs, after a short one."""
    train, test = image_sets(options)
    row: measure.Row = {}

    def seconds(epochs: int) -> float:
        given = {"network": "convnet", "augmentation": "crop-scale-rotate", **settings(options.set)}
        config = EvaluationConfig(repeats=options.repeats, epochs=epochs, **given)
        return measure.seconds_of(lambda: row.update(environment=evaluate(train, test, config).environment))

    warm_up, few, many = (seconds(epochs) for epochs in (2, options.epochs, 3 * options.epochs))
    epoch = (many - few) / (2 * options.epochs) / options.repeats
    times = {"seconds_epoch": epoch, "seconds_test": few / options.repeats - options.epochs * epoch}
    calls = {str(options.epochs): few, str(3 * options.epochs): many}
    return {**times, "seconds_warm_up": warm_up, "seconds_calls": calls, **row}


@measure.benchmark("evaluation", pairs=6, epochs=20, repeats=2, set=[str], ipc=10, test_images=10_000)
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    if point["variant"] == "plain":
        row = time_plain(*image_sets(options), options.epochs, np.random.default_rng(0))
    else:
        row = time_ours(options)
    extrapolated = NETWORKS * (EPOCHS * row["seconds_epoch"] + row["seconds_test"])
    return {**row, "seconds_extrapolated": extrapolated, "megabytes_peak": measure.peak_megabytes()}
