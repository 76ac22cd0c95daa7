"""The C kernel against torch.compile: one matching step, cold and warm, and how far a run gets in its first seconds.

    python benchmarks/compiled.py --pairs 3

The real side is computed by torch's own layers ("eager"), the library's C kernel ("fused") or torch.compile of the eager
network ("compiled"). Cold starts have empty caches of compiled code, warm ones those that the cold process left. The
clock starts when the method is built; a process runs for --seconds, and --least-steps though they take longer.
"""

from itertools import pairwise
from statistics import median
from time import perf_counter

import measure
import torch
from library import random_set

from datacondense import GradientMatchingConfig
from datacondense.allocator import keep_freed_memory
from datacondense.condensation.state import Step

ENGINES = ("eager", "fused", "compiled")


def points(options: measure.Options) -> list[measure.Point]:
    """Return every variant, its cold start before its warm one."""
    pairs, batches = range(options.pairs), options.real_batches
    return measure.grid(pair=pairs, real_batch=batches, engine=ENGINES, cache=("cold", "warm"))


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Run steps for some seconds and time each."""
    keep_freed_memory()
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
    return {
        "first_step_done_seconds": ends[1] - began,
        "step_seconds": median([after - before for before, after in pairwise(ends)][1:]),
        "steps_in_time": sum(end - began <= options.seconds for end in ends[1:]),
        "used": method.backend._asdict(),
    }


if __name__ == "__main__":
    measure.benchmark(
        "compiled", one_process, points=points, lengths=("pairs", "real_batches"), pairs=3, seconds=30.0, least_steps=3,
        cache=lambda _, point: "{pair}-{real_batch}-{engine}".format(**point), shape=(3, 32, 32),
        real_batches=[16, 256], precision="float32",
    )  # fmt: skip
