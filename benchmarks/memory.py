"""Peak memory of condensing K classes for one iteration: the sets grow with K; what the run needs beyond must not.

python benchmarks/memory.py
"""

import measure
from library import random_set

from datacondense import GradientMatchingConfig, RunConfig, condense

SIZES: measure.Row = {"ipc": [1], "classes": [10, 100], "real_batch": [64], "side": [32]}


@measure.benchmark(
    "memory", lambda options: measure.grid(**{name: vars(options)[name] for name in SIZES}),
    lengths=tuple(SIZES), **SIZES,
)  # fmt: skip
def one_process(_: measure.Options, point: measure.Point) -> measure.Row:
    ipc, classes, batch, side = (point[name] for name in SIZES)
    train, before = random_set((3, side, side), classes, batch), measure.peak_megabytes()
    settings = {"matching_steps": 1 if ipc == 1 else 2, "network_epochs": 1, "real_batch": batch}
    condensed = condense(train, GradientMatchingConfig(ipc=ipc, **settings), RunConfig(iterations=1))
    sets = (train.images.nbytes + 4 * condensed.images.nbytes) / 2**20  # images, momentum, gradient, result
    return {"megabytes_before": before, "megabytes_peak": measure.peak_megabytes(), "megabytes_sets": sets}
