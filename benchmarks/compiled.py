"""The C kernel against torch.compile: one matching step, cold and warm, and how far a run gets in its first seconds.

    python benchmarks/compiled.py --pairs 3

The clock starts when the method is built; a process runs for --seconds, and --least-steps though they take longer.
"""

from itertools import pairwise
from statistics import median
from time import perf_counter

import measure
import torch
from library import random_set

from datacondense import GradientMatchingConfig
from datacondense.condensation.state import Step

ENGINES = ("eager", "fused", "compiled")
STARTS = ("cold", "warm")


@measure.benchmark(
    "compiled", lambda o: measure.grid(pair=range(o.pairs), real_batch=o.real_batches, engine=ENGINES, cache=STARTS),
    lengths=("pairs", "real_batches"), pairs=3, seconds=30.0, least_steps=3,
    cache=lambda _, point: "{pair}-{real_batch}-{engine}".format(**point), shape=(3, 32, 32),
    real_batches=[16, 256], precision="float32",
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    compiled, batch = point["engine"] == "compiled", point["real_batch"]
    given = {"engine": "eager" if compiled else point["engine"], "precision": options.precision}
    settings = GradientMatchingConfig(real_batch=batch, matching_steps=1, **given)
    train = random_set(options.shape, 10, max(100, batch))
    began = perf_counter()
    method = settings.build(train, 0)
    if compiled:
        method.model = torch.compile(method.model)
    state, ends = method.init(), [perf_counter()]
    while len(ends) <= options.least_steps or ends[-1] - began < options.seconds:
        state, _ = method.step(state, Step(len(ends) - 1, 0))
        ends.append(perf_counter())
    step = median([after - before for before, after in pairwise(ends)][1:])
    row = {"first_step_done_seconds": ends[1] - began, "step_seconds": step, "used": method.backend._asdict()}
    return {**row, "steps_in_time": sum(end - began <= options.seconds for end in ends[1:])}
