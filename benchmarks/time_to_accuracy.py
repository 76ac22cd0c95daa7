"""Wall time to condense MNIST and the accuracy of the result: one record, one process per seed.

    python benchmarks/time_to_accuracy.py --iterations 200 --set real_batch=64 image_lr=0.5 precision=bfloat16

Seconds are those of `condense`; with --cold-cache every process compiles again. With --validate 20 50 100, states along
the run are scored on held-out training images, to choose settings. --plain-iterations times steps of the plain loop.
"""

from dataclasses import asdict, replace
from functools import partial
from time import perf_counter

import measure
import plain
import torch
from library import EXPERIMENT, loaded, protocol, settings, trial
from matching_step import plain_steps

from datacondense import GradientMatchingConfig, evaluate, hold_out
from datacondense.condensation.state import Step


def points(options: measure.Options) -> list[measure.Point]:
    """Return every seed, and the plain loop if it is wanted."""
    number = options.plain_iterations
    return measure.of_seeds(options) + [{"plain_iterations": number}] * bool(number)


def validation_curve(options: measure.Options, seed: int) -> measure.Row:
    """Condense with one seed, scoring a validation split after some numbers of iterations."""
    train, validation = hold_out(loaded(options.dataset)[0], options.fraction, 0)
    method = GradientMatchingConfig(**settings(options.set))
    built, config = method.build(train, seed), protocol(options, seed)
    state, seconds, curve = built.init(), 0.0, []
    labels = torch.arange(train.num_classes).repeat_interleave(method.ipc)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (train.mean, train.std))
    for outer in range(max(options.validate)):
        began = perf_counter()
        for inner in range(method.steps_per_iteration):
            state, _ = built.step(state, Step(outer, inner))
        seconds += perf_counter() - began
        if outer + 1 in options.validate:
            images = state.images.flatten(0, 1).float() * std + mean
            score = evaluate(replace(train, images=images, labels=labels), validation, config)
            entry = {"accuracy": score.mean, "std": score.std, "n": score.n}
            curve.append({"iterations": outer + 1, "seconds": seconds, **entry})
    return {"curve": curve, "method": asdict(method.resolved()), "protocol": asdict(config)}


@measure.benchmark(
    "time-to-accuracy", points, lengths=("seeds", "plain_iterations"),
    cache=lambda options, point: str(point.get("seed")) if options.cold_cache else None,
    **EXPERIMENT | {"iterations": 200, "validate": [int], "plain_iterations": 0, "cold_cache": False},
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    if "plain_iterations" in point:
        ipc = settings(options.set).get("ipc", 1)
        real = [torch.randn(600, 1, 28, 28) for _ in range(10)]
        step = plain_steps(partial(plain.ConvNet, (1, 28, 28), 10), real, ipc, plain.BATCH)
        return measure.timed(step, options.plain_iterations)
    return (validation_curve if options.validate else trial)(options, point["seed"])
