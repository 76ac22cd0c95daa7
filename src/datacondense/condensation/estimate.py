"""What a run costs, by steps that are really taken."""

import time
from typing import Any, NamedTuple

import torch

from datacondense.condensation.loop import RunConfig
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.image_set import ImageSet
from datacondense.networks.torch_state import usual_torch
from datacondense.tasks.memory import peak_memory

_MOST_STEPS = 30  # are enough to time
_SECONDS = 10.0  # are spent on an estimate, about
_LINE = 120  # bytes that a step adds to the log
_CPU = torch.device("cpu")


class RunEstimate(NamedTuple):
    """What a run costs on this machine, without validations and a teacher.

    Attributes:
        iterations: How many there are.
        seconds_each: Seconds of one.
        seconds: Of all, or the time limit where that is less.
        memory: Peak of a process in MiB, with the real images, of the largest where several share the run; 0 where the
            system does not tell.
        device_memory: Peak of the tensors on its GPU in MiB; None without one.
        disk: Bytes of the folder at most: two checkpoints, while one replaces the other, the log and the result.
    """

    iterations: int
    seconds_each: float
    seconds: float
    memory: int
    device_memory: int | None
    disk: int


@usual_torch()
def estimate_run(train: ImageSet, method: MethodConfig, run: RunConfig) -> RunEstimate:
    """Estimate what `condense` would take, by some of its steps; nothing is written.

    Args:
        train: The real images, on the device that computes.
        method: What is learned and how.
        run: Seed and length.

    Returns:
        Time, memory and disk.

    Raises:
        InputError: The settings do not fit the images.
    """
    device = train.images.device
    with peak_memory(device) as tensors, peak_memory(_CPU) as process:
        built = method.build(train, run.seed)
        each, state = timed(built, _SECONDS)
    iterations = run.iterations or method.published_iterations
    steps = iterations * built.settings.steps_per_iteration
    ranks, on_gpu = built.ranks, device.type == "cuda"
    stored = sum(tensor.nbytes for tensor in state.to_tensors().values())
    return RunEstimate(
        iterations=iterations,
        seconds_each=each * built.settings.steps_per_iteration,
        seconds=min(each * steps, run.time_limit_seconds),
        memory=max(ranks.of_each(process["peak"])),
        device_memory=max(ranks.of_each(tensors["peak"])) if on_gpu else None,
        disk=2 * stored + state.images.nbytes + _LINE * steps,
    )


def timed(method: Method[Any], seconds: float) -> tuple[float, State]:
    """Take steps for about so many seconds, two at least.

    Args:
        method: Takes the steps.
        seconds: For how long.

    Returns:
        The seconds of a usual step, which the first one is not, as it compiles and captures; and the last state.
    """
    steps, began = method.settings.steps_per_iteration, time.monotonic()
    state, step, taken, usual_since = method.init(), Step(0, 0), 0, began

    def goes_on() -> bool:
        return taken < 2 or (taken <= _MOST_STEPS and time.monotonic() - began < seconds)

    while method.ranks.of_first(goes_on):
        state, _ = method.step(state, step)
        step, taken = step.after(steps), taken + 1
        usual_since = time.monotonic() if taken == 1 else usual_since
    return (time.monotonic() - usual_since) / (taken - 1), state
