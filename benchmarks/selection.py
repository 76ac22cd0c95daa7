"""Seconds and peak memory of herding and k-center, plain against the library, each row in a fresh process.

    python benchmarks/selection.py --pairs 3

The record also states whether both variants select the same images.
"""

import hashlib

import measure
import plain
import torch
from library import random_set

import datacondense
from datacondense.allocator import keep_freed_memory

METHODS = {
    "herding": (plain.herding, datacondense.select_herding),
    "k-center": (plain.k_center, datacondense.select_k_center),
}


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure one method of one variant in this process."""
    train, ipc = random_set((3, 32, 32), options.classes, options.per_class), point["ipc"]
    features = torch.randn(len(train), options.features, generator=torch.Generator().manual_seed(1))
    plainly, ours = METHODS[point["method"]]
    selected: list[int] = []
    before = measure.peak_megabytes()

    def call() -> None:
        if point["variant"] == "datacondense":
            keep_freed_memory()
            selected.extend(ours(train, ipc, features).provenance["indices"])
            return
        for label in range(train.num_classes):
            members = torch.nonzero(train.labels == label).flatten()
            selected.extend(members[plainly(features[members], ipc)].tolist())

    seconds, peak = measure.seconds_of(call), measure.peak_megabytes()
    digest = hashlib.sha256(repr(sorted(selected)).encode()).hexdigest()[:16]
    return {"seconds": seconds, "megabytes_before": before, "megabytes_peak": peak, "selected": digest}


if __name__ == "__main__":
    measure.benchmark(
        "selection", one_process, points=lambda options: measure.pairs(options, method=METHODS, ipc=options.ipc),
        pairs=3, ipc=[1, 10, 50], classes=10, per_class=5000, features=2048,
    )  # fmt: skip
