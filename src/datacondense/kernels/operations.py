"""Instance normalisation, ReLU and 2x2 average pooling as one operation, differentiable once."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from datacondense.kernels.build import library

CHANNEL_BLOCK = 32  # as BLOCK in norm_relu_pool.c


def norm_relu_pool(
    images: Tensor, weight: Tensor, bias: Tensor, eps: float, *, level: Tensor | None = None
) -> Tensor:
    """Return `avg_pool2d(relu(instance_norm(images + level) * weight + bias), 2)`, in channels_last order.

    Torch writes and reads the feature maps of these three layers seven times; here they take one pass forward and one
    backward, and keep only the input and two numbers per channel. Sums are float32, whatever the images are.

    Images are `[N, C, H, W]` on the CPU, float32 or bfloat16, C a multiple of `CHANNEL_BLOCK`; the others are `[C]`,
    float32. `level`, such as a convolution's bias, is removed again by the norm: nothing is added, and its gradient is
    zero.
    """
    result: Tensor = _NormReluPool.apply(images, weight, bias, level, eps)  # type: ignore[no-untyped-call]
    return result


class _NormReluPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, level: Tensor | None, eps: float
    ) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        n, c, h, w = images.shape
        out = torch.empty((n, c, h // 2, w // 2), dtype=images.dtype, memory_format=torch.channels_last)
        mean, rstd = torch.empty(2, n, c).unbind()
        library().norm_relu_pool_forward(
            *map(_address, (images, weight, bias, out, mean, rstd)),
            *map(ctypes.c_long, (n, h, w, c)),
            ctypes.c_float(eps),
            *_kind(images),
        )
        ctx.save_for_backward(images, weight, bias, mean, rstd)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, mean, rstd = ctx.saved_tensors
        n, c, h, w = images.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        image_gradient = torch.empty_like(images)
        weight_gradient, bias_gradient = torch.empty(2, n, c).unbind()
        library().norm_relu_pool_backward(
            *map(_address, (gradient, images, weight, bias, mean, rstd)),
            *map(_address, (image_gradient, weight_gradient, bias_gradient)),
            *map(ctypes.c_long, (n, h, w, c)),
            *_kind(images),
        )
        level_gradient = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        return image_gradient, weight_gradient.sum(0), bias_gradient.sum(0), level_gradient, None


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _kind(images: Tensor) -> tuple[ctypes.c_int, ctypes.c_int]:
    """Return the number type and the threads to use, as the kernel takes them."""
    return ctypes.c_int(images.dtype == torch.bfloat16), ctypes.c_int(torch.get_num_threads())
