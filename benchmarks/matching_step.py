"""Seconds of one matching step, plain against the library, in interleaved pairs of processes.

    python benchmarks/matching_step.py --pairs 10

Each process runs one step to warm up, then times --steps. --profile also records where a step spends its time.
"""

from collections.abc import Callable
from functools import partial

import measure
import plain
import torch
from library import MatchingSteps, random_set
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


def plain_steps(
    network: Callable[[], nn.Module], real: list[Tensor], ipc: int, batch: int
) -> Callable[[], float]:
    """Return the plain step, each call on a fresh network."""
    images = torch.randn(len(real) * ipc, *real[0].shape[1:], device=real[0].device, requires_grad=True)
    optimiser = torch.optim.SGD([images], lr=0.1, momentum=0.5)
    return lambda: plain.matching_step(network().to(images.device), real, images, optimiser, batch)


@measure.benchmark(
    "matching-step", lengths=("pairs", "profile"), pairs=10, steps=2, shape=(3, 32, 32), classes=10,
    points=lambda options: [{"profile": "datacondense"}] * options.profile + measure.pairs(options), ipc=1,
    real_batch=256, per_class=600, set=[str], precision="bfloat16", profile=False,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    shape, classes, ipc, batch = options.shape, options.classes, options.ipc, options.real_batch
    if point.get("variant") == "plain":
        real = [torch.randn(options.per_class, *shape) for _ in range(classes)]
        network = partial(plain.ConvNet, shape, classes)
        return measure.timed(plain_steps(network, real, ipc, batch), options.steps)
    train = random_set(shape, classes, options.per_class)
    step = MatchingSteps(options, train, ipc=ipc, real_batch=batch, matching_steps=1)
    if "variant" in point:
        return {**measure.timed(step, options.steps), **step.backend}
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    return {"self_seconds": {e.key: [e.self_cpu_time_total / 1e6, e.count] for e in events[:12]}}
