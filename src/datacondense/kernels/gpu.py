"""Group normalisation, activation and 2x2 pooling on a GPU: triton_kernels.py, called with tensors."""

from math import prod
from typing import Any

import torch
import triton
from torch import Tensor

from datacondense.kernels.triton_kernels import backward_kernel, forward_kernel

# Of a program's four tiles together, at most: 256 threads then need 128 registers each, so that two programs share a
# processor, and one loads while the other computes.
_FORWARD_ELEMENTS = 16384
_BACKWARD_ELEMENTS = 8192


def forward(
    images: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, activation: str, pooling: str
) -> tuple[Tensor, Tensor]:
    """Return the output, and `[2, N, C]` mean and 1/deviation of groups; images are in channels_last order."""
    n, c, h, w = images.shape
    size = (h, w) if pooling == "none" else (h // 2, w // 2)
    out = torch.empty(
        (n, c, *size), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    statistics = torch.empty((2, n, c), device=images.device)
    settings = _settings(images, groups, activation, pooling, _FORWARD_ELEMENTS)
    with torch.cuda.device_of(images):
        forward_kernel[_grid(settings, n)](images, weight, bias, out, statistics, n, eps, **settings)
    return out, statistics


def backward(
    gradient: Tensor, images: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor,
    groups: int, activation: str, pooling: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradients of the images, and of weight and bias image by image, `[2, N, C]`."""
    n = len(images)
    image_gradient, parameter_gradients = torch.empty_like(images), torch.empty_like(statistics)
    settings = _settings(images, groups, activation, pooling, _BACKWARD_ELEMENTS)
    with torch.cuda.device_of(images):
        backward_kernel[_grid(settings, n)](
            gradient, images, weight, bias, statistics, image_gradient, parameter_gradients, n, **settings
        )
    return image_gradient, parameter_gradients


def _settings(images: Tensor, groups: int, activation: str, pooling: str, elements: int) -> dict[str, Any]:
    """Return what a kernel is compiled for."""
    _, channels, *sides = images.shape
    group = channels // groups
    windows = triton.next_power_of_2(prod(-(-side // 2) for side in sides))
    if group == 1:
        # 16 numbers in bfloat16 are the 32 bytes that a GPU reads at least.
        step = block = min(max(elements // (4 * windows), 16), 64, triton.next_power_of_2(channels))
    else:
        step, block = group, triton.next_power_of_2(group)
    tile = min(windows, max(elements // (4 * block), 1))
    return {
        "MAP": (*sides, channels),
        "OUT": channels * prod(side if pooling == "none" else side // 2 for side in sides),
        "GROUP": group,
        "ACTIVATION": activation,
        "POOLING": pooling,
        "STEP": step,
        "BLOCK": block,
        "TILE": tile,
        "num_warps": min(max(4 * tile * block // 1024, 1), 8),
        "enable_fp_fusion": True,  # the default, which Triton 3.9 warns that it will change
    }


def _grid(settings: dict[str, Any], number: int) -> tuple[int]:
    """Return the number of programs."""
    return (number * -(-settings["MAP"][2] // settings["STEP"]),)
