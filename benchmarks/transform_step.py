"""Seconds of one matching step with each gradient transform, relative to plain matching.

    python benchmarks/transform_step.py --rounds 10

Steps with and without it alternate (--turns), so that both see the same state of the machine; + joins transforms.
"""

from statistics import median

import measure
from library import MatchingSteps, random_set

TRANSFORMS = [
    *("max-pool-1", "max-pool-2", "mean-pool-1", "abs-max-pool-2", "keep-magnitude:0.0025"),
    *("keep-magnitude-global:0.01", "keep-stable:0.1", "keep-snr:1", "wiener:4"),
    *("max-pool-1+keep-magnitude:0.1", "class-collective"),
]


@measure.benchmark(
    "transform-step", lambda o: measure.grid(round=range(o.rounds), real_batch=o.real_batch, transform=o.transforms),
    lengths=("rounds", "transforms", "real_batch"), rounds=10, turns=2, transforms=TRANSFORMS, real_batch=[256, 64],
    shape=(3, 32, 32), classes=10, ipc=1, per_class=600, set=[str], precision="auto",
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    train = random_set(options.shape, options.classes, options.per_class)
    given: measure.Row = {"ipc": options.ipc, "real_batch": point["real_batch"], "matching_steps": 1}
    names = point["transform"].split("+")
    given["transform"] = tuple(name for name in names if name != "class-collective")
    ours = MatchingSteps(options, train, class_collective="class-collective" in names, **given)
    calls = {"plain": MatchingSteps(options, train, **given | {"transform": ()}), "transform": ours}
    times: dict[str, list[float]] = {"plain": [], "transform": []}
    for turn in range(-1, options.turns):  # the first to warm up
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            times[name].append(measure.seconds_of(calls[name]))
    warm_up = {name: each.pop(0) for name, each in times.items()}
    ratio = median(b / a for a, b in zip(times["plain"], times["transform"], strict=True))
    return {"ratio": ratio, "seconds": times, "seconds_warm_up": warm_up, **ours.backend}
