"""Wall time to condense MNIST and the accuracy of the result: one record, one process per seed.

    python benchmarks/time_to_accuracy.py --iterations 200 --set real_batch=64 image_lr=0.5 precision=bfloat16
    python benchmarks/time_to_accuracy.py --validate 20 50 100 200 --repeats 3 --epochs 300 --set real_batch=64

Seconds run from the call of `condense` to its return, after imports and loading of the data (reported apart); compiling
counts. Each finished set is scored once on the test images, which is not counted. With --validate, states along the run
are scored on held-out training images instead, to choose settings; scoring is not counted there either.
"""

import argparse
import time
from dataclasses import asdict, replace
from statistics import fmean, stdev
from typing import Any

import measure
import plain
import torch
from comparison import spread
from library import add_experiment, condensed, loaded, protocol, settings

from datacondense import GradientMatchingConfig, ImageSet, evaluate, hold_out
from datacondense.allocator import keep_freed_memory
from datacondense.condensation.state import Step

PUBLISHED_ITERATIONS, PUBLISHED_BATCH = 1000, 256


def one_seed(options: argparse.Namespace, seed: int) -> measure.Row:
    """Condense with one seed, then score on the test images."""
    train, test, loading = loaded(options.dataset)
    method = GradientMatchingConfig(**settings(options.set))
    images, seconds = condensed(train, method, seed, options.iterations)
    score = evaluate(images, test, protocol(options, seed))
    return {
        "iterations": options.iterations,
        "seconds": seconds,
        "seconds_loading": loading,
        "score": score.as_dict(),
        "fingerprint": images.fingerprint,
        "method": asdict(method.resolved()),
    }


def validation_curve(options: argparse.Namespace, seed: int) -> measure.Row:
    """Condense with one seed, scoring a validation split after some numbers of iterations."""
    train, _, _ = loaded(options.dataset)
    train, validation = hold_out(train, options.fraction, 0)
    method = GradientMatchingConfig(**settings(options.set))
    built, config = method.build(train, seed), protocol(options, seed)
    state, seconds, curve = built.init(), 0.0, []
    for outer in range(max(options.validate)):
        for inner in range(method.steps_per_iteration):
            began = time.perf_counter()
            state, _ = built.step(state, Step(outer, inner))
            seconds += time.perf_counter() - began
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


def plain_steps(options: argparse.Namespace) -> measure.Row:
    """Time matching steps of the plain loop on images of MNIST's shape."""
    real = [torch.randn(600, 1, 28, 28) for _ in range(10)]
    ipc = settings(options.set).get("ipc", 1)
    synthetic = torch.randn(10 * ipc, 1, 28, 28, requires_grad=True)
    optimiser = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)

    def step() -> float:
        network = plain.ConvNet((1, 28, 28), 10)
        return plain.matching_step(network, real, synthetic, optimiser, PUBLISHED_BATCH)

    return measure.timed(step, options.plain_iterations)


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one row in this process."""
    if "plain_iterations" in point:
        return plain_steps(options)
    keep_freed_memory()
    return (validation_curve if options.validate else one_seed)(options, point["seed"])


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Return the accuracy over all networks, the median seconds, and what the plain loop would take."""
    rows = [row for row in record["rows"] if "seed" in row]
    summary: dict[str, Any] = {}
    if rows and not options.validate:
        accuracies = [value for row in rows for value in row["score"]["accuracies"]]
        summary |= {"seconds": spread([row["seconds"] for row in rows])}
        mean, std = fmean(accuracies), stdev(accuracies) if len(accuracies) > 1 else None
        summary |= {"accuracy": {"mean": mean, "std": std, "n": len(accuracies)}}
    for row in record["rows"]:
        if "plain_iterations" in row:
            steps = GradientMatchingConfig(**settings(options.set)).resolved().matching_steps or 1
            summary["plain"] = {
                "seconds_per_step": row["seconds"],
                "seconds_extrapolated": PUBLISHED_ITERATIONS * steps * row["seconds"],
                "how": f"{PUBLISHED_ITERATIONS} iterations of {steps} matching steps at {PUBLISHED_BATCH} real images "
                f"per class, extrapolated from {row['plain_iterations']} measured steps, not run; without the training "
                "between steps",
            }
    return summary


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "time-to-accuracy")
    add_experiment(parser)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument(
        "--validate", type=int, nargs="*", default=[], metavar="ITERATIONS", help="when to score"
    )
    parser.add_argument("--plain-iterations", type=int, default=0, help="steps of the plain loop to time")
    parser.add_argument("--cold-cache", action="store_true", help="compile again in every process")
    options = parser.parse_args()
    points: list[measure.Point] = [{"seed": seed} for seed in options.seeds]
    points += [{"plain_iterations": options.plain_iterations}] if options.plain_iterations else []
    lengths = ("seeds", "plain_iterations")
    measure.benchmark(
        options, points, one_process, summarise, lengths=lengths, fresh_cache=options.cold_cache
    )


if __name__ == "__main__":
    main()
