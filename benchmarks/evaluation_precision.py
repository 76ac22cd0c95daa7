"""Accuracy of the same networks on the same sets, evaluated with torch's layers in float32 and with the fast engine.

python benchmarks/evaluation_precision.py --dataset mnist --iterations 80 --set real_batch=64 image_lr=0.5
"""

from functools import partial

import measure
from library import EXPERIMENT, trial

GROUPS = {"a": ("precision=float32", "engine=eager"), "b": ("precision=bfloat16", "engine=fused")}


@measure.benchmark(
    "evaluation-precision", partial(measure.of_seeds, group="ab"), lengths=("seeds",), **EXPERIMENT | {"iterations": 80}
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    row = trial(options, point["seed"], scoring=GROUPS[point["group"]])
    return {**row, "seconds": row["seconds_scoring"]}
