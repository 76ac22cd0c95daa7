"""How cells time themselves for an estimate."""

import time
from collections.abc import Callable

import torch

from datacondense.image_set import ImageSet


def seconds_of(compute: Callable[[], object], device: torch.device) -> float:
    """Time a computation to its end.

    Args:
        compute: Called once.
        device: Where it computes.

    Returns:
        Seconds.
    """
    began = time.perf_counter()
    compute()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - began


def first_images(images: ImageSet, number: int) -> ImageSet:
    """Keep the first images of a set.

    Args:
        images: The set.
        number: How many, or all where it has fewer.

    Returns:
        The part.
    """
    return images.subset(torch.arange(min(number, len(images)), device=images.labels.device))
