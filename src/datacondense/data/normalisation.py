"""The normalisation of a data set, where none is published: mean and standard deviation of its pixels."""

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from datacondense.disk_images import DiskImages

# Of images converted to a wider type at a time: 0.2 GB for 64x64 colour.
CHUNK = 2048
# A constant channel has no spread to divide by.
STD_FLOOR = 1e-3


def pixel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation (at least 0.001) of each channel over all pixels, in pixel scale.

    Equal on any number of threads to the last bit, because every later result depends on these: 8-bit pixels are summed
    as whole numbers, and floating-point ones by NumPy, which sums on one thread.
    """
    count = images.shape[0] * images.shape[2] * images.shape[3]
    compute = _whole_numbers if images.dtype == torch.uint8 else _floating
    means, variances = compute(images, count)
    return means, tuple(max(sqrt(variance), STD_FLOOR) for variance in variances)


def _whole_numbers(images: Tensor, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sum pixels and their squares exactly."""
    known = images.sums() if isinstance(images, DiskImages) else None
    sums, squares = known or (
        torch.as_tensor(sum(part.long().pow(power).sum((0, 2, 3)) for part in images.split(CHUNK))).tolist()
        for power in (1, 2)
    )
    pairs = list(zip(sums, squares, strict=True))
    means = tuple(total / (255 * count) for total, _ in pairs)
    return means, tuple((count * square - total**2) / (255 * count) ** 2 for total, square in pairs)


def _floating(images: Tensor, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sum in two passes, since the difference of a mean square and a squared mean loses digits."""
    pixels = images.cpu().numpy()
    parts = [pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK)]
    mean = sum(part.sum((0, 2, 3), dtype=np.float64) for part in parts) / count
    centre = np.reshape(mean, (1, -1, 1, 1))
    variance = sum(np.square(part - centre).sum((0, 2, 3)) for part in parts) / count
    return tuple(np.atleast_1d(mean).tolist()), tuple(np.atleast_1d(variance).tolist())
