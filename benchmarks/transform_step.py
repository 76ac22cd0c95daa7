"""Seconds of one matching step with each gradient transform, relative to plain matching.

    python benchmarks/transform_step.py --rounds 10

Each transform is measured in a fresh process that alternates its steps with plain ones, reversing the order every turn,
so that both see the same state of the machine. The target is 1.25 times the seconds of plain matching.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from statistics import median

import measure
from comparison import median_interval, spread
from library import MatchingSteps, add_settings, image_shape, random_set, settings

from datacondense import GradientMatchingConfig
from datacondense.studies.noise_config import PLAIN, variant_settings

TRANSFORMS = (
    "max-pool-1",
    "max-pool-2",
    "mean-pool-1",
    "abs-max-pool-2",
    "keep-magnitude:0.0025",
    "keep-magnitude-global:0.01",
    "keep-stable:0.1",
    "keep-snr:1",
    "wiener:4",
    "max-pool-1+keep-magnitude:0.1",
    "class-collective",
)
"""Variants, as in `datacondense noise --variants`; transforms joined by + are applied in that order."""

TARGET = 1.25


def take_turns(calls: Sequence[Callable[[], object]], turns: int) -> list[list[float]]:
    """Time calls in turns, each in the reverse order of the turn before; return seconds by call."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(turns):
        order = list(enumerate(calls))
        for index, call in order[:: -1 if turn % 2 else 1]:
            times[index].append(measure.seconds_of(call))
    return times


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one transform in this process."""
    train = random_set(options.shape, options.classes, options.per_class)

    def steps(variant: str) -> MatchingSteps:
        config = GradientMatchingConfig(
            ipc=options.ipc,
            real_batch=point["real_batch"],
            precision=options.precision,
            matching_steps=1,
            **variant_settings(variant),
            **settings(options.set),
        )
        return MatchingSteps(train, config)

    plain, ours = steps(PLAIN), steps(point["transform"])
    warm_up = take_turns([plain, ours], 1)
    times = take_turns([plain, ours], options.turns)
    return {
        "ratio": median(b / a for a, b in zip(*times, strict=True)),
        "seconds": {"plain": times[0], "transform": times[1]},
        "seconds_warm_up": {"plain": warm_up[0][0], "transform": warm_up[1][0]},
        "engine": ours.engine,
        "precision": ours.precision,
    }


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Return for each batch and transform the ratios of the rounds and whether their median meets the target."""
    rows = record["rows"]
    batches = sorted({row["real_batch"] for row in rows}, reverse=True)
    measured = dict.fromkeys(row["transform"] for row in rows)
    return {
        "target": TARGET,
        "ratios": {
            str(batch): {
                name: summary([row for row in rows if (row["real_batch"], row["transform"]) == (batch, name)])
                for name in measured
            }
            for batch in batches
        },
    }


def summary(rows: Sequence[measure.Row]) -> measure.Row | None:
    """Summarise the rounds of one transform; None before the first."""
    if not rows:
        return None
    ratios = [row["ratio"] for row in rows]
    found = {**spread(ratios), "median_interval_95": median_interval(ratios)}
    seconds = {kind: median(median(row["seconds"][kind]) for row in rows) for kind in ("plain", "transform")}
    return {"ratio": found, "seconds": seconds, "meets_target": found["median"] <= TARGET}


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "transform-step")
    parser.add_argument("--rounds", type=int, default=10, help="processes per transform")
    parser.add_argument("--turns", type=int, default=2, help="timed steps of either kind per process")
    parser.add_argument(
        "--transforms", nargs="+", default=list(TRANSFORMS), help="joined by + to apply several"
    )
    parser.add_argument("--real-batch", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--shape", type=image_shape, default=(3, 32, 32), help="such as 1x28x28")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--per-class", type=int, default=600, help="stored images per class")
    add_settings(parser, "--set", GradientMatchingConfig)
    parser.add_argument("--precision", default="auto", help="of the real images")
    options = parser.parse_args()
    points = [
        {"round": number, "real_batch": batch, "transform": name}
        for number, batch, name in product(range(options.rounds), options.real_batch, options.transforms)
    ]
    lengths = ("rounds", "transforms", "real_batch")
    measure.benchmark(options, points, one_process, summarise, lengths=lengths)


if __name__ == "__main__":
    main()
