"""Wall time to condense MNIST and the accuracy of the result: one record, one process per seed.

    python benchmarks/time_to_accuracy.py --iterations 200 --set real_batch=64 image_lr=0.5 precision=bfloat16

Seconds are those of `condense`, without imports and loading of the data; compiling counts, and with --cold-cache every
process compiles again. Each finished set is scored once on the test images. With --validate 20 50 100, states along the
run are scored on held-out training images instead, to choose settings. --plain-iterations steps of the plain loop are
timed too.
"""

from dataclasses import asdict, replace
from time import perf_counter

import measure
import torch
from library import EXPERIMENT, loaded, protocol, settings, trial
from matching_step import plain_steps

from datacondense import GradientMatchingConfig, ImageSet, evaluate, hold_out
from datacondense.allocator import keep_freed_memory
from datacondense.condensation.state import Step


def points(options: measure.Options) -> list[measure.Point]:
    """Return every seed, and the plain loop if it is wanted."""
    plain: measure.Point = {"plain_iterations": options.plain_iterations}
    return [*measure.of_seeds(options), *[plain] * bool(options.plain_iterations)]


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure one row in this process."""
    if "plain_iterations" in point:
        ipc = settings(options.set).get("ipc", 1)
        return measure.timed(plain_steps((1, 28, 28), 10, ipc, 256, 600), options.plain_iterations)
    return (validation_curve if options.validate else trial)(options, point["seed"])


def validation_curve(options: measure.Options, seed: int) -> measure.Row:
    """Condense with one seed, scoring a validation split after some numbers of iterations."""
    keep_freed_memory()
    train, validation = hold_out(loaded(options.dataset)[0], options.fraction, 0)
    method = GradientMatchingConfig(**settings(options.set))
    built, config = method.build(train, seed), protocol(options, seed)
    state, seconds, curve = built.init(), 0.0, []
    for outer in range(max(options.validate)):
        began = perf_counter()
        for inner in range(method.steps_per_iteration):
            state, _ = built.step(state, Step(outer, inner))
        seconds += perf_counter() - began
        if outer + 1 in options.validate:
            score = evaluate(as_set(state.images, train), validation, config)
            entry = {"accuracy": score.mean, "std": score.std, "n": score.n}
            curve.append({"iterations": outer + 1, "seconds": seconds, **entry})
    return {"curve": curve, "method": asdict(method.resolved()), "protocol": asdict(config)}


def as_set(images: torch.Tensor, like: ImageSet) -> ImageSet:
    """Return normalised images `[K, S, C, H, W]` as a set in pixel scale."""
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (like.mean, like.std))
    labels = torch.arange(len(images)).repeat_interleave(images.shape[1])
    return replace(like, images=images.flatten(0, 1).float() * std + mean, labels=labels)


if __name__ == "__main__":
    given = EXPERIMENT | {"iterations": 200, "validate": [int], "plain_iterations": 0, "cold_cache": False}
    measure.benchmark(
        "time-to-accuracy", one_process, points=points, lengths=("seeds", "plain_iterations"),
        cache=lambda options, point: str(point.get("seed")) if options.cold_cache else None, **given,
    )  # fmt: skip
