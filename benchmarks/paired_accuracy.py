"""Accuracy under two groups of settings, paired by seed: does a difference in settings cost accuracy?

    python benchmarks/paired_accuracy.py --a precision=float32 --b precision=bfloat16 \
        --set real_batch=64 image_lr=0.5 --iterations 100 --seeds 0 1 2 3 4

Both groups condense from the same seed and are scored by networks of the same seed, on held-out training images. Choose
settings on those; `--on test` reports a finished choice on the test images.
"""

import argparse
from dataclasses import asdict
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import measure
from library import add_experiment, condensed, loaded, protocol, settings
from scipy.stats import t as student

from datacondense import GradientMatchingConfig, evaluate, hold_out
from datacondense.allocator import keep_freed_memory

GROUPS = ("a", "b")


def mean_interval(values: list[float]) -> measure.Row:
    """Return the mean with its 95 % t interval; None for a single value."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return {"mean": mean, "interval_95": None, "n": n}
    half = float(student.ppf(0.975, n - 1)) * stdev(values) / sqrt(n)
    return {"mean": mean, "interval_95": [mean - half, mean + half], "n": n}


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Condense and score with one seed and one group of settings."""
    keep_freed_memory()
    train, scored, _ = loaded(options.dataset)
    if options.on == "validation":
        train, scored = hold_out(train, options.fraction, 0)
    method = GradientMatchingConfig(**settings([*options.set, *getattr(options, point["group"])]))
    images, seconds = condensed(train, method, point["seed"], options.iterations)
    score = evaluate(images, scored, protocol(options, point["seed"]))
    return {
        "accuracy": score.mean,
        "std": score.std,
        "n": score.n,
        "accuracies": score.accuracies,
        "seconds": seconds,
        "method": asdict(method.resolved()),
        "protocol": asdict(score.protocol),
    }


def summarise(options: argparse.Namespace, record: measure.Row) -> dict[str, Any]:
    """Return the differences b - a over seeds."""
    a, b = ({r["seed"]: r["accuracy"] for r in record["rows"] if r["group"] == g} for g in GROUPS)
    seeds = sorted(a.keys() & b.keys())
    differences = {str(seed): b[seed] - a[seed] for seed in seeds}
    return {
        "settings": {"a": options.a, "b": options.b, "both": options.set},
        "scored_on": options.on,
        "accuracy": {"a": fmean(a.values()), "b": fmean(b.values())},
        "difference_b_minus_a": {"each": differences, **mean_interval(list(differences.values()))},
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "paired-accuracy")
    add_experiment(parser)
    parser.add_argument(
        "--a", nargs="+", required=True, metavar="NAME=VALUE", help="settings of the first group"
    )
    parser.add_argument("--b", nargs="+", required=True, metavar="NAME=VALUE", help="settings of the second")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--on", choices=["validation", "test"], default="validation")
    options = parser.parse_args()
    points = [{"seed": seed, "group": group} for seed in options.seeds for group in GROUPS]
    measure.benchmark(options, points, one_process, summarise, lengths=("seeds",))


if __name__ == "__main__":
    main()
