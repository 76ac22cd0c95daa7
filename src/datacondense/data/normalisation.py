"""The normalisation of a data set, where none is published: mean and standard deviation of its pixels."""

import torch
from torch import Tensor

# Of images converted to double precision at a time: 0.2 GB for 64x64 colour.
CHUNK = 2048
# A constant channel has no spread to divide by.
STD_FLOOR = 1e-3


def pixel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and population standard deviation of each channel over all pixels, in double precision.

    Two passes, since the difference of a mean square and a squared mean loses digits.

    Args:
        images: `[N, C, H, W]`, uint8 in 0-255 or float32 in 0-1.

    Returns:
        The C means and the C standard deviations (none below 0.001), in pixel scale (0 to 1).
    """
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = sum(_scaled(part).sum((0, 2, 3)) for part in images.split(CHUNK)) / count
    centre = torch.as_tensor(mean).view(1, -1, 1, 1)
    variance = sum((_scaled(part) - centre).square().sum((0, 2, 3)) for part in images.split(CHUNK)) / count
    std = torch.as_tensor(variance).sqrt().clamp(min=STD_FLOOR)
    return tuple(torch.as_tensor(mean).tolist()), tuple(std.tolist())


def _scaled(images: Tensor) -> Tensor:
    """Give pixels in 0-1 with double precision."""
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()
