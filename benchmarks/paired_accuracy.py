"""Accuracy under two groups of settings, paired by seed: does a difference in settings cost accuracy?

    python benchmarks/paired_accuracy.py --a precision=float32 --b precision=bfloat16 --set image_lr=0.5

Both are scored by networks of the same seed, on held-out training images; `--on test` reports a finished choice.
"""

from functools import partial

import measure
from library import EXPERIMENT, trial


@measure.benchmark(
    "paired-accuracy", partial(measure.of_seeds, group="ab"), lengths=("seeds",),
    **EXPERIMENT | {"a": [str], "b": [str], "iterations": 100, "on": "validation"},
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    assert options.on in {"validation", "test"}, "--on is validation or test"
    return trial(options, point["seed"], *getattr(options, point["group"]), on=options.on)
