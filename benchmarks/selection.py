"""Seconds and memory of herding and k-center, plain against the library, and whether they select the same images.

python benchmarks/selection.py --pairs 3
"""

import hashlib
from time import perf_counter

import measure
import plain
import torch
from library import random_set

from datacondense import select_herding, select_k_center

METHODS = {"herding": (plain.herding, select_herding), "k-center": (plain.k_center, select_k_center)}


@measure.benchmark(
    "selection", lambda options: measure.pairs(options, method=METHODS, ipc=options.ipc),
    pairs=3, ipc=[1, 10, 50], classes=10, per_class=5000, features=2048,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    train, ipc = random_set((3, 32, 32), options.classes, options.per_class), point["ipc"]
    features = torch.randn(len(train), options.features, generator=torch.Generator().manual_seed(1))
    plainly, ours = METHODS[point["method"]]
    before = measure.peak_megabytes()
    began = perf_counter()
    if point["variant"] == "datacondense":
        selected = ours(train, ipc, features).provenance["indices"]
    else:
        members = [torch.nonzero(train.labels == label).flatten() for label in range(train.num_classes)]
        selected = [index for each in members for index in each[plainly(features[each], ipc)].tolist()]
    seconds = perf_counter() - began
    memory = {"megabytes_before": before, "megabytes_peak": measure.peak_megabytes()}
    digest = hashlib.sha256(repr(sorted(selected)).encode()).hexdigest()[:16]
    return {"seconds": seconds, **memory, "selected": digest}
