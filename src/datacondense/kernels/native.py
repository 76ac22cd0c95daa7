"""Instance normalisation, ReLU and 2x2 average pooling on the CPU: norm_relu_pool.c, called with tensors."""

import ctypes

import torch
from torch import Tensor

from datacondense.kernels.build import library

CHANNEL_BLOCK = 32  # as BLOCK in norm_relu_pool.c


def forward(images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the output, and mean and 1/deviation `[2, N, C]`; images are in channels_last order."""
    n, c, h, w = images.shape
    out = torch.empty((n, c, h // 2, w // 2), dtype=images.dtype, memory_format=torch.channels_last)
    statistics = torch.empty(2, n, c)
    library().norm_relu_pool_forward(
        *map(_address, (images, weight, bias, out, *statistics.unbind())),
        *map(ctypes.c_long, (n, h, w, c)),
        ctypes.c_float(eps),
        *_kind(images),
    )
    return out, statistics


def backward(
    gradient: Tensor, images: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the images, and of weight and bias image by image, `[2, N, C]`."""
    n, c, h, w = images.shape
    image_gradient, parameter_gradients = torch.empty_like(images), torch.empty_like(statistics)
    library().norm_relu_pool_backward(
        *map(_address, (gradient, images, weight, bias, *statistics.unbind())),
        *map(_address, (image_gradient, *parameter_gradients.unbind())),
        *map(ctypes.c_long, (n, h, w, c)),
        *_kind(images),
    )
    return image_gradient, parameter_gradients


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _kind(images: Tensor) -> tuple[ctypes.c_int, ctypes.c_int]:
    """Return the number type and the threads to use, as the kernel takes them."""
    return ctypes.c_int(images.dtype == torch.bfloat16), ctypes.c_int(torch.get_num_threads())
