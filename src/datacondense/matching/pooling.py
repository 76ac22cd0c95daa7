"""Representative pooling: one value, or four, stand for the spatial gradient of each convolution kernel."""

import torch
from torch import Tensor

from datacondense.matching.distances import Gradients


def pool_kernels(gradients: Gradients, *, pooling: str, size: int) -> list[Tensor]:
    """Return gradients, those of convolutions `[O, I, h, w]` pooled to `[O, I, min(size, h), min(size, w)]`.

    Window i of `size` along an axis of length k reaches from ⌊i·k/size⌋ to ⌈(i+1)·k/size⌉, so 2×2 windows of a 3×3
    kernel overlap in its middle. "abs-max" takes the entry of largest magnitude, with its sign.
    """
    return [_pooled(g, pooling, size) if is_kernel(g) else g for g in gradients]


def is_kernel(gradient: Tensor) -> bool:
    """Whether a parameter or its gradient belongs to a convolution over the plane: `[O, I, h, w]`."""
    return gradient.dim() == 4


def _pooled(gradient: Tensor, pooling: str, size: int) -> Tensor:
    """Pool `[O, I, h, w]` over adaptive windows."""
    rows, columns = (_windows(length, size) for length in gradient.shape[2:])
    return torch.stack(
        [
            torch.stack(
                [_representative(gradient[..., row, column].flatten(2), pooling) for column in columns], -1
            )
            for row in rows
        ],
        -2,
    )


def _windows(length: int, size: int) -> list[slice]:
    """Divide an axis into adaptive windows."""
    size = min(size, length)
    return [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]


def _representative(window: Tensor, pooling: str) -> Tensor:
    """Reduce the last axis."""
    if pooling == "mean":
        return window.mean(-1)
    selected = (window.abs() if pooling == "abs-max" else window).argmax(-1, keepdim=True)
    return window.gather(-1, selected).squeeze(-1)
