"""Peak memory of condensing K = 10 and K = 100 classes for one iteration, each in a fresh process.

    python benchmarks/memory.py

The sets grow with K; what the run needs beyond them must not. With more than 1 image per class the network is trained.
"""

import measure
from library import random_set

from datacondense import GradientMatchingConfig, RunConfig, condense
from datacondense.allocator import keep_freed_memory

SIZES: measure.Row = {"ipc": [1], "classes": [10, 100], "real_batch": [64], "side": [32]}


def one_process(_: measure.Options, point: measure.Point) -> measure.Row:
    """Condense random images and read the peak."""
    keep_freed_memory()
    ipc, classes, batch, side = (point[name] for name in SIZES)
    train, before = random_set((3, side, side), classes, batch), measure.peak_megabytes()
    settings = {"matching_steps": 1 if ipc == 1 else 2, "network_epochs": 1, "real_batch": batch}
    condensed = condense(train, GradientMatchingConfig(ipc=ipc, **settings), RunConfig(iterations=1))
    sets = (train.images.nbytes + 4 * condensed.images.nbytes) / 2**20  # images, momentum, gradient, result
    return {"megabytes_before": before, "megabytes_peak": measure.peak_megabytes(), "megabytes_sets": sets}


if __name__ == "__main__":
    measure.benchmark(
        "memory", one_process, points=lambda options: measure.grid(**{name: vars(options)[name] for name in SIZES}),
        lengths=tuple(SIZES), **SIZES,
    )  # fmt: skip
