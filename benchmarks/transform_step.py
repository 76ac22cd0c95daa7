"""Seconds of one matching step with each gradient transform, relative to plain matching.

    python benchmarks/transform_step.py --rounds 10

Processes (--rounds) alternate steps with a transform and plain ones (--turns of either), reversing the order every turn,
so that both see the same state of the machine. Transforms joined by + are applied in that order.
"""

from collections.abc import Callable, Sequence
from statistics import median

import measure
from library import MatchingSteps, random_set

TRANSFORMS = [
    *("max-pool-1", "max-pool-2", "mean-pool-1", "abs-max-pool-2", "keep-magnitude:0.0025"),
    *("keep-magnitude-global:0.01", "keep-stable:0.1", "keep-snr:1", "wiener:4"),
    *("max-pool-1+keep-magnitude:0.1", "class-collective"),
]


def points(options: measure.Options) -> list[measure.Point]:
    """Return every round of every transform."""
    rounds, batches = range(options.rounds), options.real_batch
    return measure.grid(round=rounds, real_batch=batches, transform=options.transforms)


def take_turns(calls: Sequence[Callable[[], object]], turns: int) -> list[list[float]]:
    """Time calls in turns, each in the reverse order of the turn before; return seconds by call."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(turns):
        for index in range(len(calls))[:: -1 if turn % 2 else 1]:
            times[index].append(measure.seconds_of(calls[index]))
    return times


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure one transform in this process."""
    train = random_set(options.shape, options.classes, options.per_class)

    def steps(*names: str) -> MatchingSteps:
        given: measure.Row = {"ipc": options.ipc, "real_batch": point["real_batch"], "matching_steps": 1}
        given["transform"] = tuple(name for name in names if name != "class-collective")
        return MatchingSteps(options, train, class_collective="class-collective" in names, **given)

    calls = [steps(), steps(*point["transform"].split("+"))]
    warm_up, times = take_turns(calls, 1), take_turns(calls, options.turns)
    return {
        "ratio": median(ours / plain for plain, ours in zip(*times, strict=True)),
        "seconds": dict(zip(("plain", "transform"), times, strict=True)),
        "seconds_warm_up": {"plain": warm_up[0][0], "transform": warm_up[1][0]},
        **calls[1].backend,
    }


if __name__ == "__main__":
    measure.benchmark(
        "transform-step", one_process, points=points, lengths=("rounds", "transforms", "real_batch"),
        rounds=10, turns=2, transforms=TRANSFORMS, real_batch=[256, 64], shape=(3, 32, 32), classes=10, ipc=1,
        per_class=600, set=[str], precision="auto",
    )  # fmt: skip
