"""Multi-formation: one stored image holds several images at a lower resolution (Kim et al., ICML 2022, "IDC").

A stored image is a grid of f×f tiles. Decoding cuts it and upsamples every tile bilinearly to the full size; encoding
shrinks f² images into one. Both are products with small fixed matrices, one for rows and one for columns: linear,
differentiable any number of times, and summed in a fixed order on every device.
"""

from functools import cache
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError

_GREY = 0.5  # pixel scale: what is put beyond the last row and column where the sides are no multiple of f


def check_factor(factor: int, image_shape: tuple[int, int, int]) -> None:
    """Check that an image has at least one pixel for each tile."""
    least = min(image_shape[1:])
    if not 1 <= factor <= least:
        raise InputError(
            f"factor is {factor}, but images of {image_shape[1]}×{image_shape[2]} pixels can be cut into 1 to {least} "
            "tiles a side: give a smaller --factor."
        )


def decode(stored: Tensor, factor: int, fill: Tensor | float = _GREY) -> Tensor:
    """Cut each image into f×f tiles and upsample them bilinearly, pixel centres aligned.

    Args:
        stored: Images `[..., C, H, W]` in any scale.
        factor: Tiles a side, f.
        fill: What lies beyond the last row and column of sides that are no multiple of f, a number or `[C, 1, 1]`:
            0.5 in pixel scale, as published.

    Returns:
        Images `[..., f², C, H, W]`, tiles row by row; differentiable.
    """
    height, width = stored.shape[-2:]
    down, across = (
        _matrix("upsampling", size, factor, stored.dtype, stored.device) for size in (height, width)
    )
    tiles = _padded(stored, factor, fill).unflatten(-2, (factor, -1)).unflatten(-1, (factor, -1))
    tiles = tiles.movedim((-4, -2), (-5, -4))  # [..., f, f, C, h, w]
    decoded: Tensor = (down @ tiles @ across.mT).flatten(-5, -4)
    return decoded


def encode(images: Tensor, factor: int) -> Tensor:
    """Shrink images to tiles by averaging, and lay f² of them into one, so that `decode` gives them back blurred.

    Args:
        images: Images `[..., f², C, H, W]`.
        factor: Tiles a side, f.

    Returns:
        Images `[..., C, H, W]`.
    """
    height, width = images.shape[-2:]
    down, across = (
        _matrix("averaging", size, factor, images.dtype, images.device) for size in (height, width)
    )
    tiles = (down @ images @ across.mT).unflatten(-4, (factor, factor))
    grid: Tensor = tiles.movedim((-5, -4), (-4, -2)).flatten(-2, -1).flatten(-3, -2)
    return grid[..., :height, :width]


def _padded(stored: Tensor, factor: int, fill: Tensor | float) -> Tensor:
    """Lengthen sides to the next multiple of f."""
    missing = [-size % factor for size in stored.shape[-2:]]
    return F.pad(stored - fill, (0, missing[1], 0, missing[0])) + fill if any(missing) else stored


def _upsampling(size: int, factor: int) -> Tensor:
    """Return the matrix `[size, tile]` that stretches a tile's side, as bilinear interpolation does."""
    tile = ceil(size / factor)
    return F.interpolate(torch.eye(tile, dtype=torch.float64)[:, None], size, mode="linear")[:, 0].T


def _averaging(size: int, factor: int) -> Tensor:
    """Return the matrix `[tile, size]` that averages a side down to a tile's."""
    return F.adaptive_avg_pool1d(torch.eye(size, dtype=torch.float64)[:, None], ceil(size / factor))[:, 0].T


@cache
def _matrix(kind: str, size: int, factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a matrix in the type and on the device of the images."""
    made = {"upsampling": _upsampling, "averaging": _averaging}[kind](size, factor)
    return made.to(dtype=dtype, device=device)
