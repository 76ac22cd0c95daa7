"""What this machine is and how fast it is: the ceilings of every record.

python benchmarks/ceilings.py
"""

import json
from functools import partial

import measure
import torch
from torch import Tensor

from datacondense.allocator import keep_freed_memory
from datacondense.environment import environment


def ceilings(inputs: Tensor, copied: int = 2**26) -> measure.Row:
    """Measure the best rates of a convolution of inputs `[N, C, H, W]`, in the better memory layout, and of a copy."""
    rates: measure.Row = {}
    for dtype in (torch.float32, torch.bfloat16):
        typed = inputs.to(dtype)
        layouts = [rates_of(typed, layout) for layout in (torch.contiguous_format, torch.channels_last)]
        best = {kind: max(layout[kind] for layout in layouts) for kind in layouts[0]}
        rates[str(dtype).removeprefix("torch.")] = best
    source, target = inputs.new_ones(copied), inputs.new_empty(copied)
    copying = min(measure.seconds_of(lambda: target.copy_(source)) for _ in range(7))
    return {"convolution_gflops": rates, "copy_gigabytes_per_second": 2 * source.nbytes / copying / 1e9}


def rates_of(inputs: Tensor, layout: torch.memory_format) -> dict[str, float]:
    """Measure GFLOP/s of a 3x3 convolution and its two gradients; each takes as many operations."""
    width = inputs.shape[1]
    images = inputs.to(memory_format=layout)
    weight = torch.randn(width, width, 3, 3).to(images).to(memory_format=layout)
    given = (torch.ones_like(images), images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    backward = partial(torch.ops.aten.convolution_backward, *given)
    calls = {
        "forward": partial(torch.conv2d, images, weight, padding=1),
        "input_gradient": partial(backward, [True, False, False]),
        "weight_gradient": partial(backward, [False, True, False]),
    }
    count = 2 * 9 * width * images.numel() / 1e9
    return {kind: count / min(measure.seconds_of(call) for _ in range(6)) for kind, call in calls.items()}


if __name__ == "__main__":
    torch.set_num_threads(measure.parse_options(threads=torch.get_num_threads()).threads)
    keep_freed_memory()
    heaviest = ceilings(torch.randn(256, 128, 16, 16))  # of the ConvNet's convolutions
    machine = {"threads": torch.get_num_threads(), "environment": environment("cpu"), "ceilings": heaviest}
    print(json.dumps(machine))
