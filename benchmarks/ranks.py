"""Seconds of one step of a run that several processes share, against one process, in interleaved pairs.

    python benchmarks/ranks.py --threads 1 --pairs 5

Each run of `condense` takes one step to warm up, then times --steps, with all that its processes exchange. Processor
seconds are those of the first process, without its waiting: on a busy machine they bound what can be gained.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import measure
import torch.distributed as dist
from library import random_set, settings

from datacondense import GradientMatchingConfig, Progress, RunConfig, condense


def points(options: measure.Options) -> list[measure.Point]:
    """Return the points 1 2 1 2 …, or whatever numbers of processes there are."""
    return measure.grid(pair=range(options.pairs), processes=options.processes)


def of_all_ranks(number: int) -> measure.Row:
    """Run this very script in as many processes, and return what the first measures."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen(
                [sys.executable, *sys.argv],
                env=os.environ | {"RANK": str(rank), "MEETING": f"file://{folder}/meeting"},
                stdout=subprocess.PIPE,
            )
            for rank in range(number)
        ]
        first, *_ = [rank.communicate()[0] for rank in ranks]
    row: measure.Row = json.loads(first.splitlines()[-1])
    return row


def per_step(clock: Sequence[float], steps: int) -> list[float]:
    """Return the seconds of a step of each iteration, the last step of which has no training after it."""
    return [(end - begin) / steps for begin, end in pairwise(clock[::steps])]


@measure.benchmark(
    "ranks", points, pairs=5, steps=5, shape=(3, 32, 32), classes=10, ipc=1, real_batch=64, per_class=600,
    matching_steps=1, network_epochs=0, processes=[1, 2], set=[str], precision="auto",
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    number = point["processes"]
    if number > 1 and "RANK" not in os.environ:
        return of_all_ranks(number)
    if number > 1:
        rank = int(os.environ["RANK"])
        dist.init_process_group("gloo", os.environ["MEETING"], rank=rank, world_size=number)
    method = GradientMatchingConfig(
        ipc=options.ipc,
        real_batch=options.real_batch,
        matching_steps=options.matching_steps,
        network_epochs=options.network_epochs,
        precision=options.precision,
        **settings(options.set),
    )
    ends, spent = [time.perf_counter()], [time.process_time()]

    def observe(_: Progress) -> None:
        ends.append(time.perf_counter())
        spent.append(time.process_time())

    train = random_set(options.shape, options.classes, options.per_class)
    iterations = -(-(1 + options.steps) // options.matching_steps)
    run = RunConfig(iterations=iterations)
    condensed = condense(train, method, run, observer=observe)
    if len(ends) == 1:  # the first rank is told of steps
        return {}
    warm_up, *each = per_step(ends, options.matching_steps)
    _, *processor = per_step(spent, options.matching_steps)
    facts = condensed.provenance["environment"]
    return {
        "seconds": median(each or [warm_up]),
        "seconds_each": each,
        "seconds_warm_up": warm_up,
        "processor_seconds": median(processor or [warm_up]),
        "megabytes_peak": measure.peak_megabytes(),
        **{name: facts[name] for name in ("engine", "precision", "threads")},
    }
