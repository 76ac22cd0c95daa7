"""Seconds of one matching step, plain against the library, in interleaved pairs of processes.

    python benchmarks/matching_step.py --pairs 10

Each process runs one step to warm up, then times some. The library's process keeps freed memory, as its command line
does. Operations are counted, not measured, for the gradients of the real images only. Those of the synthetic images
come on top (few at one image per class, about as many at fifty), so the share of the ceiling is a lower bound.
"""

import argparse
from collections.abc import Callable
from math import prod
from typing import Any

import measure
import plain
import torch
from comparison import compare, pair_points
from library import MatchingSteps, Shape, add_settings, image_shape, random_set, settings
from torch.profiler import ProfilerActivity, profile

from datacondense import GradientMatchingConfig


def step_operations(
    shape: Shape, num_classes: int, batch: int, width: int = 128, depth: int = 3
) -> dict[str, int]:
    """Count the floating-point operations of the real gradients of all classes, multiply and add apart.

    A 3x3 convolution from I to O channels with an H·W output costs 2·9·I·O·H·W an image, a linear layer 2·I·O; the
    forward pass, the weight gradient and the input gradient each cost as much, but the first layer needs no input
    gradient. H and W halve after every layer; 28x28 counts as 32x32, to which the first layer pads it. Norms,
    activations and poolings are left out (about 1 %).
    """
    channels, *sides = shape
    height, size = (32 if side == 28 else side for side in sides)
    layers = []
    for _ in range(depth):
        layers.append(2 * 9 * channels * width * height * size)
        channels, height, size = width, height // 2, size // 2
    layers.append(2 * channels * height * size * num_classes)
    images = num_classes * batch
    return {
        "forward": images * sum(layers),
        "weight_gradient": images * sum(layers),
        "input_gradient": images * sum(layers[1:]),
    }


def least_bytes(shape: Shape, num_classes: int, batch: int, value: int, width: int = 128) -> int:
    """Estimate the least memory traffic: weights, images and activations once each, for every class.

    4 bytes a weight and pixel; `value` bytes for each convolution's output (O·H·W) and its pooled quarter.
    """
    channels, *sides = shape
    weights, activations = 0, 0.0
    height, size = (32 if side == 28 else side for side in sides)
    for _ in range(3):
        weights += 9 * channels * width
        activations += 1.25 * width * height * size
        channels, height, size = width, height // 2, size // 2
    weights += channels * height * size * num_classes
    return int(num_classes * (4 * weights + batch * (4 * prod(shape) + value * activations)))


def share_of_ceiling(operations: dict[str, int], gflops: dict[str, float], seconds: float) -> float:
    """Return the time of the operations at the ceiling's rates divided by the time they took."""
    return sum(count / gflops[kind] / 1e9 for kind, count in operations.items()) / seconds


def formulas(*functions: Callable[..., object]) -> dict[str, str]:
    """Return how numbers in a record are computed: the docstrings of these functions."""
    return {function.__name__: " ".join((function.__doc__ or "").split()) for function in functions}


class Plain:
    """Steps of the plain implementation, each on a fresh network."""

    def __init__(self, options: argparse.Namespace) -> None:
        shape, classes = options.shape, options.classes
        self._real = [torch.randn(options.per_class, *shape) for _ in range(classes)]
        self._synthetic = torch.randn(classes * options.ipc, *shape, requires_grad=True)
        self._optimiser = torch.optim.SGD([self._synthetic], lr=0.1, momentum=0.5)
        self._shape, self._batch = shape, options.real_batch

    def __call__(self) -> float:
        """Run one step and return its loss."""
        network = plain.ConvNet(self._shape, len(self._real))
        return plain.matching_step(network, self._real, self._synthetic, self._optimiser, self._batch)


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one variant in this process."""
    if point.get("variant") == "plain":
        return measure.timed(Plain(options), options.steps)
    config = GradientMatchingConfig(
        ipc=options.ipc,
        real_batch=options.real_batch,
        precision=options.precision,
        matching_steps=1,
        **settings(options.set),
    )
    step = MatchingSteps(random_set(options.shape, options.classes, options.per_class), config)
    if "variant" in point:
        return {**measure.timed(step, options.steps), "engine": step.engine, "precision": step.precision}
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12)
    return {"table": table.splitlines()}


def summarise(options: argparse.Namespace, record: measure.Row) -> dict[str, Any]:
    """Compare the variants, and the library with the ceiling of the machine."""
    times = compare(record["rows"], "seconds")
    operations = step_operations(options.shape, options.classes, options.real_batch)
    value = 2 if options.precision == "bfloat16" else 4
    rates = record["ceilings"]["convolution_gflops"]
    seconds = times["datacondense"]["median"]
    return {
        "seconds": times,
        "megabytes_peak": compare(record["rows"], "megabytes_peak"),
        "operations": operations,
        "gflops": sum(operations.values()) / seconds / 1e9,
        "share_of_ceiling": {
            name: share_of_ceiling(operations, gflops, seconds) for name, gflops in rates.items()
        },
        "least_bytes": least_bytes(options.shape, options.classes, options.real_batch, value),
        "formulas": formulas(step_operations, least_bytes, share_of_ceiling),
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "matching-step")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2, help="timed steps per process")
    parser.add_argument("--shape", type=image_shape, default=(3, 32, 32), help="such as 1x28x28")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--real-batch", type=int, default=256)
    parser.add_argument("--per-class", type=int, default=600, help="stored images per class")
    add_settings(parser, "--set", GradientMatchingConfig)
    parser.add_argument("--precision", default="bfloat16", help="of the library's real images")
    parser.add_argument(
        "--profile", action="store_true", help="also record where a step of the library spends its time"
    )
    options = parser.parse_args()
    points: list[measure.Point] = [{"profile": "datacondense"}] if options.profile else []
    points += pair_points(options.pairs)
    measure.benchmark(options, points, one_process, summarise, lengths=("pairs", "profile"))


if __name__ == "__main__":
    main()
