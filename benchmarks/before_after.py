"""Processor time of this source and of another one, such as the commit before, in interleaved pairs of processes.

    python benchmarks/before_after.py --before ../before/src --pairs 8

Each process uses one thread and counts processor time, which other programs disturb least. A source from before
"iterations" had that name needs this script as it was in the commit of its record.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from time import process_time
from typing import Any

import measure
import torch
from library import loaded, random_set

from datacondense import EvaluationConfig, GradientMatchingConfig, RunConfig, condense, evaluate
from datacondense.allocator import keep_freed_memory

QUANTITIES = ("matching step", "inner training", "evaluation", "demo")


def prepared(quantity: str) -> Callable[[], Any]:
    """Return what is timed; what is set up before is not."""
    small, large = (random_set((3, 32, 32), 10, per_class) for per_class in (10, 50))
    alone: Any = {"repeats": 1, "augmentation": "none"}
    if quantity == "matching step":
        settings = GradientMatchingConfig(real_batch=16, matching_steps=1, network_epochs=0)
        return partial(condense, large, settings, RunConfig(iterations=2))
    if quantity == "inner training":
        size: Any = {"ipc": 10, "real_batch": 4, "matching_steps": 2, "network_epochs": 10}
        settings = GradientMatchingConfig(network="convnet-w32-d3", **size)
        return partial(condense, large, settings, RunConfig(iterations=1))
    if quantity == "evaluation":
        return partial(evaluate, small, large, EvaluationConfig(network="convnet-w32-d3", epochs=30, **alone))
    train, test = loaded("digits")
    settings = GradientMatchingConfig(network="convnet-w32-d2", image_lr=1.0, real_batch=64)
    protocol = EvaluationConfig(network="convnet-w32-d2", epochs=100, **alone)
    return lambda: evaluate(condense(train, settings, RunConfig(iterations=20)), test, protocol)


def one_process(quantity: str) -> dict[str, float]:
    """Time a quantity twice after a warm-up; the shorter time counts."""
    torch.set_num_threads(1)
    keep_freed_memory()
    call, ends = prepared(quantity), list[float]()
    for _ in range(3):
        call()
        ends.append(process_time())
    return {"seconds": min(after - before for before, after in pairwise(ends))}


if __name__ == "__main__":
    options = measure.parse_options(out=measure.RESULTS / "before-after.json", before=Path, pairs=8)
    if options.child:
        print(json.dumps(one_process(options.child["quantity"])))
        sys.exit()
    record = measure.Record(options.out, {"before": measure.code_version(options.before)}, 1)
    sources = {"before": options.before.resolve(), "after": measure.RESULTS.parents[1] / "src"}
    for pair, quantity in product(range(options.pairs), QUANTITIES):
        for side in ("before", "after") if pair % 2 else ("after", "before"):
            child = ("--child", json.dumps(point := {"pair": pair, "quantity": quantity, "side": side}))
            record.add(point, partial(measure.run_child, sys.argv[0], *child, PYTHONPATH=str(sources[side])))
