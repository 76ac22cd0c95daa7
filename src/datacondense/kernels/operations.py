"""Group normalisation, activation and 2x2 pooling as one operation of torch, differentiable once.

On the CPU it is computed in C (`native`), on a GPU in Triton (`gpu`).
"""

# ruff: noqa: PLC0415 — triton exists where there is a GPU

from functools import cache
from typing import Any

import torch
from torch import Tensor

from datacondense.kernels import native
from datacondense.kernels.build import UnavailableError, library

_LARGEST_GROUP = 256  # of channels: one program of the GPU computes a whole group

# Not torch.library.custom_op: its first call loads torch's compiler, which takes longer than many a run.
_OPERATIONS = torch.library.Library("datacondense", "FRAGMENT")
_OPERATIONS.define(
    "norm_activation_pool(Tensor images, Tensor weight, Tensor bias, Tensor? level, int groups, float eps,"
    " str activation, str pooling) -> (Tensor, Tensor)"
)
_OPERATIONS.define(
    "norm_activation_pool_backward(Tensor gradient, Tensor images, Tensor weight, Tensor bias, Tensor statistics,"
    " int groups, str activation, str pooling) -> (Tensor, Tensor)"
)


def norm_activation_pool(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    groups: int,
    activation: str = "relu",
    pooling: str = "average",
    level: Tensor | None = None,
) -> Tensor:
    """Return `pool(activation(group_norm(images + level, groups) * weight + bias))`, in channels_last order.

    Torch writes and reads the feature maps of these three layers seven times; here they take one pass forward and one
    backward, and keep only the input and two numbers per channel. Sums are float32, whatever the images are.

    Images are `[N, C, H, W]`, float32 or bfloat16; the others are `[C]`, float32. Activations are those of
    `names.Activation`, poolings those of `names.Pooling`, 2x2; `has_kernel` says which of them a device computes.
    `level`, such as a convolution's bias, is for groups of one channel, whose norm removes it again: nothing is added,
    and its gradient is zero.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    out: Tensor = torch.ops.datacondense.norm_activation_pool.default(
        images, weight, bias, level, groups, eps, activation, pooling
    )[0]
    return out


def has_kernel(device: str, channels: int, groups: int, activation: str, pooling: str) -> bool:
    """Whether a type of device, where it has kernels at all, computes this norm, activation and pooling."""
    if device == "cpu":
        return (
            groups == channels
            and channels % native.CHANNEL_BLOCK == 0
            and (activation, pooling) == ("relu", "average")
        )
    return device == "cuda" and channels // groups <= _LARGEST_GROUP


@cache
def load_kernels(device: torch.device) -> None:
    """Load the kernels of a CPU or GPU, and try those of a GPU once.

    Args:
        device: The CPU or a GPU.

    Raises:
        UnavailableError: If they cannot be had on this machine.
    """
    if device.type == "cpu":
        library()
        return
    try:
        from datacondense.kernels import gpu

        if torch.cuda.is_available():
            # Triton compiles what it launches, which needs a C compiler and a GPU that is new enough.
            one = torch.ones(1, 1, 1, 1, device=device)
            gpu.forward(one, one[0, 0, 0], one[0, 0, 0], 1, 1.0, "relu", "none")
    except ImportError as error:
        raise UnavailableError(f"triton cannot be imported ({error})") from error
    except Exception as error:
        raise UnavailableError(f"triton cannot compile the kernels ({error})") from error


def _forward_cpu(
    images: Tensor, weight: Tensor, bias: Tensor, level: Tensor | None,
    groups: int, eps: float, activation: str, pooling: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    assert has_kernel("cpu", images.shape[1], groups, activation, pooling)
    return native.forward(images, weight, bias, eps)


def _backward_cpu(
    gradient: Tensor, images: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor,
    groups: int, activation: str, pooling: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return native.backward(gradient, images, weight, bias, statistics)


def _forward_cuda(
    images: Tensor, weight: Tensor, bias: Tensor, level: Tensor | None,
    groups: int, eps: float, activation: str, pooling: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    from datacondense.kernels import gpu

    return gpu.forward(images, weight, bias, groups, eps, activation, pooling)


def _backward_cuda(*arguments: Any) -> tuple[Tensor, Tensor]:
    from datacondense.kernels import gpu

    return gpu.backward(*arguments)


def _forward_shapes(
    images: Tensor, weight: Tensor, bias: Tensor, level: Tensor | None,
    groups: int, eps: float, activation: str, pooling: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    n, c, h, w = images.shape
    size = (h, w) if pooling == "none" else (h // 2, w // 2)
    out = torch.empty(
        (n, c, *size), dtype=images.dtype, device=images.device, memory_format=torch.channels_last
    )
    return out, images.new_empty((2, n, c), dtype=torch.float32)


def _backward_shapes(gradient: Tensor, images: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(images), torch.empty_like(others[2])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    images, weight, bias, _, groups, _, activation, pooling = inputs
    ctx.save_for_backward(images, weight, bias, output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.settings = groups, activation, pooling


@torch.autograd.function.once_differentiable
def _differentiate(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 8
    images, weight, bias, statistics = ctx.saved_tensors
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    image_gradient, parameter_gradients = torch.ops.datacondense.norm_activation_pool_backward.default(
        gradient, images, weight, bias, statistics, *ctx.settings
    )
    level_gradient = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
    weight_gradient, bias_gradient = parameter_gradients.sum(1).unbind()
    return image_gradient, weight_gradient, bias_gradient, level_gradient, None, None, None, None


_OPERATIONS.impl("norm_activation_pool", _forward_cpu, "CPU")
_OPERATIONS.impl("norm_activation_pool", _forward_cuda, "CUDA")
_OPERATIONS.impl("norm_activation_pool_backward", _backward_cpu, "CPU")
_OPERATIONS.impl("norm_activation_pool_backward", _backward_cuda, "CUDA")
torch.library.register_fake("datacondense::norm_activation_pool", _forward_shapes, lib=_OPERATIONS)
torch.library.register_fake("datacondense::norm_activation_pool_backward", _backward_shapes, lib=_OPERATIONS)
torch.library.register_autograd(
    "datacondense::norm_activation_pool", _differentiate, setup_context=_keep, lib=_OPERATIONS
)
