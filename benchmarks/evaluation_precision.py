"""Accuracy of the same networks evaluated twice: with torch's layers in float32, and with the fast engine.

    python benchmarks/evaluation_precision.py --dataset mnist --iterations 80 --set real_batch=64 image_lr=0.5

Each process condenses the same set to the same bytes. Differences are taken network by network.
"""

from functools import partial

import measure
from library import EXPERIMENT, trial

GROUPS = {"a": ("precision=float32", "engine=eager"), "b": ("precision=bfloat16", "engine=fused")}


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Condense and score with one group of settings; the seconds are those of the scoring."""
    row = trial(options, point["seed"], scoring=GROUPS[point["group"]])
    return {**row, "seconds": row["seconds_scoring"]}


if __name__ == "__main__":
    points = partial(measure.of_seeds, group="ab")
    given = EXPERIMENT | {"iterations": 80}
    measure.benchmark("evaluation-precision", one_process, points=points, lengths=("seeds",), **given)
