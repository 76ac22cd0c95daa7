"""Seconds and peak memory of herding and k-center, plain against the library.

    python benchmarks/selection.py --pairs 3

10 classes of 5000 images with 2048 features each, 1, 10 and 50 images per class, each row in a fresh process. The
record also states whether both variants select the same images.
"""

import argparse
import hashlib
from collections.abc import Callable
from itertools import product
from typing import Any

import measure
import plain
import torch
from comparison import compare, pair_points
from library import random_set
from torch import Tensor

import datacondense
from datacondense.allocator import keep_freed_memory

METHODS = ("herding", "k-center")


def plain_selection(method: str, labels: Tensor, ipc: int, features: Tensor) -> list[int]:
    """Select class by class."""
    select: Callable[[Tensor, int], list[int]] = plain.herding if method == "herding" else plain.k_center
    selected = []
    for label in range(int(labels.max()) + 1):
        members = torch.nonzero(labels == label).flatten()
        selected += members[select(features[members], ipc)].tolist()
    return selected


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one method of one variant in this process."""
    train = random_set((3, 32, 32), options.classes, options.per_class)
    features = torch.randn(len(train), options.features, generator=torch.Generator().manual_seed(1))
    method, ipc, selected = point["method"], point["ipc"], []
    before = measure.peak_megabytes()

    def call() -> None:
        if point["variant"] == "plain":
            selected.extend(plain_selection(method, train.labels, ipc, features))
            return
        keep_freed_memory()
        name = "select_" + method.replace("-", "_")
        selected.extend(getattr(datacondense, name)(train, ipc, features).provenance["indices"])

    seconds = measure.seconds_of(call)
    return {
        "seconds": seconds,
        "megabytes_before": before,
        "megabytes_peak": measure.peak_megabytes(),
        "selected": hashlib.sha256(repr(sorted(selected)).encode()).hexdigest()[:16],
    }


def summarise(options: argparse.Namespace, record: measure.Row) -> dict[str, Any]:
    """Compare the variants for each method and number of images."""
    summary: dict[str, Any] = {}
    for method, ipc in product(METHODS, options.ipc):
        rows = [row for row in record["rows"] if (row["method"], row["ipc"]) == (method, ipc)]
        summary[f"{method}, {ipc} images per class"] = {
            "seconds": compare(rows, "seconds"),
            "megabytes_peak": compare(rows, "megabytes_peak"),
            "same_selection": len({row["selected"] for row in rows}) == 1,
        }
    return summary


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "selection")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--per-class", type=int, default=5000)
    parser.add_argument("--features", type=int, default=2048)
    options = parser.parse_args()
    points = [
        point
        for method, ipc in product(METHODS, options.ipc)
        for point in pair_points(options.pairs, method=method, ipc=ipc)
    ]
    measure.benchmark(options, points, one_process, summarise)


if __name__ == "__main__":
    main()
