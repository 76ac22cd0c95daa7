"""How tasks time themselves for an estimate."""

import time
from collections.abc import Callable

import torch

from datacondense.image_set import ImageSet


def seconds_of(compute: Callable[[], object], device: torch.device) -> float:
    """Time a computation, including work that a GPU does asynchronously.

    Args:
        compute: The computation; called once.
        device: The device that it runs on.

    Returns:
        Seconds.
    """
    began = time.perf_counter()
    compute()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - began


def first_images(images: ImageSet, number: int) -> ImageSet:
    """Return the first images of a set.

    Args:
        images: The set.
        number: How many; all if the set has fewer.

    Returns:
        The subset.
    """
    return images.subset(torch.arange(min(number, len(images)), device=images.labels.device))
