"""The C kernel against torch.compile: one matching step, cold and warm, and how far a run gets in its first seconds.

    python benchmarks/compiled.py --pairs 3

The real side of gradient matching is computed by torch's own layers ("eager"), by the library's C kernel ("fused") or
by torch.compile of the eager network ("compiled"). Every variant starts twice in processes of its own: cold, with empty
caches of compiled code, and warm, with the caches that the cold process left. The clock starts when the method is
built.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, Literal, cast

import measure
import torch
from library import image_shape, random_set

from datacondense import GradientMatchingConfig
from datacondense.allocator import keep_freed_memory
from datacondense.condensation.state import Step

ENGINES = ("eager", "fused", "compiled")


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Run steps for some seconds and time each."""
    keep_freed_memory()
    engine = cast(Literal["eager", "fused"], "eager" if point["engine"] == "compiled" else point["engine"])
    settings = GradientMatchingConfig(
        real_batch=point["real_batch"], engine=engine, precision=options.precision, matching_steps=1
    )
    train = random_set(options.shape, 10, max(100, point["real_batch"]))
    began = time.perf_counter()
    method = settings.build(train, 0)
    if point["engine"] == "compiled":
        method.model = torch.compile(method.model)
    state, ends = method.init(), [time.perf_counter()]
    while len(ends) <= options.least_steps or ends[-1] - began < options.seconds:
        state, _ = method.step(state, Step(len(ends) - 1, 0))
        ends.append(time.perf_counter())
    steps = [after - before for before, after in pairwise(ends)]
    return {
        "first_step_done_seconds": ends[1] - began,
        "step_seconds": median(steps[1:]),
        "steps_in_time": sum(end - began <= options.seconds for end in ends[1:]),
        "used": method.backend._asdict(),
    }


def summarise(record: measure.Row) -> list[dict[str, Any]]:
    """Take the median of every figure over the pairs."""
    rows: list[measure.Row] = record["rows"]
    found_kinds = {(row["real_batch"], row["engine"], row["cache"]) for row in rows}
    kinds = sorted(found_kinds, key=lambda kind: (kind[0], ENGINES.index(kind[1]), kind[2]))
    names = ("first_step_done_seconds", "step_seconds", "steps_in_time")
    found = []
    for kind in kinds:
        same = [row for row in rows if (row["real_batch"], row["engine"], row["cache"]) == kind]
        figures = {name: median(row[name] for row in same) for name in names}
        found.append(
            dict(zip(("real_batch", "engine", "cache"), kind, strict=True)) | figures | {"n": len(same)}
        )
    return found


def main() -> None:
    """Measure, or continue."""
    parser = measure.parser(__doc__, "compiled")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--least-steps", type=int, default=3, help="though they take longer than --seconds")
    parser.add_argument("--shape", type=image_shape, default=(3, 32, 32), help="such as 1x28x28")
    parser.add_argument("--real-batches", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.child is not None:
        print(json.dumps(one_process(options, options.child)))
        return
    apart = {"out", "child", "pairs", "real_batches"}
    settings = {name: value for name, value in vars(options).items() if name not in apart}
    record = measure.Record(options.out, settings, options.threads)
    for pair in range(options.pairs):
        for real_batch in options.real_batches:
            for engine in ENGINES:
                with tempfile.TemporaryDirectory() as folder:
                    for cache in ("cold", "warm"):
                        point = {"pair": pair, "real_batch": real_batch, "engine": engine, "cache": cache}
                        arguments = [*sys.argv[1:], "--child", json.dumps(point)]
                        variables = measure.empty_caches(folder)
                        record.add(point, partial(measure.run_child, sys.argv[0], *arguments, **variables))
    record.write(summary=summarise(record.content))
    print(json.dumps(record.content["summary"], indent=1))


if __name__ == "__main__":
    main()
