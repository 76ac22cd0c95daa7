"""Accuracy of the same networks evaluated twice: with torch's layers in float32, and with the fast engine.

    python benchmarks/evaluation_precision.py --dataset mnist --iterations 80 --set real_batch=64 image_lr=0.5

Each process condenses the same set to the same bytes and scores it with networks of the same seeds. Differences are
taken network by network.
"""

import argparse
import time
from typing import Any

import measure
from library import add_experiment, condensed, loaded, protocol, settings
from paired_accuracy import mean_interval

from datacondense import GradientMatchingConfig, evaluate
from datacondense.allocator import keep_freed_memory

GROUPS = {"a": ("precision=float32", "engine=eager"), "b": ("precision=bfloat16", "engine=fused")}


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Condense and score with one group of settings."""
    keep_freed_memory()
    train, test, _ = loaded(options.dataset)
    method = GradientMatchingConfig(**settings(options.set))
    images, _ = condensed(train, method, point["seed"], options.iterations)
    options.evaluation = [*options.evaluation, *GROUPS[point["group"]]]
    began = time.perf_counter()
    score = evaluate(images, test, protocol(options, point["seed"]))
    seconds = time.perf_counter() - began
    return {"fingerprint": images.fingerprint, "seconds": seconds, "score": score.as_dict()}


def summarise(options: argparse.Namespace, record: measure.Row) -> dict[str, Any]:
    """Return the accuracies of both groups and the differences b - a over networks."""
    groups: dict[str, Any] = {}
    for name, selected in GROUPS.items():
        rows = [row for row in record["rows"] if row["group"] == name]
        accuracies = [value for row in rows for value in row["score"]["accuracies"]]
        groups[name] = {
            **settings(selected),
            "accuracies": accuracies,
            "seconds": [r["seconds"] for r in rows],
        }
    differences = [b - a for a, b in zip(groups["a"]["accuracies"], groups["b"]["accuracies"], strict=True)]
    return {"dataset": options.dataset, **groups, "difference_b_minus_a": mean_interval(differences)}


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "evaluation-precision")
    add_experiment(parser)
    parser.add_argument("--iterations", type=int, default=80)
    options = parser.parse_args()
    points = [{"seed": seed, "group": group} for seed in options.seeds for group in GROUPS]
    measure.benchmark(options, points, one_process, summarise, lengths=("seeds",))


if __name__ == "__main__":
    main()
