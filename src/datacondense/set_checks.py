"""What the pixels, labels and normalisation of an image set must be."""

from math import isfinite

import numpy as np
import torch
from torch import Tensor

from datacondense.errors import InputError

_ROUNDING = (
    1e-3  # by which the sum of a distribution may miss 1, such as one that others wrote in half precision
)


def checked_range(images: Tensor) -> tuple[float, float]:
    """Check type, shape and values of the pixels, and return the ends of their range, in pixel scale."""
    if images.dim() != 4:
        raise InputError(
            f"Images have shape {tuple(images.shape)}, but 4 axes are needed, [N, C, H, W]: add the missing axis."
        )
    if images.dtype not in {torch.uint8, torch.float32}:
        raise InputError(
            f"Images are {images.dtype}, but must be uint8 (0 to 255) or float32 (0 to 1): convert them."
        )
    if images.numel() == 0:
        raise InputError("The image set is empty: it needs at least one image of one pixel.")
    if images.dtype == torch.uint8:
        return 0.0, 1.0
    low, high = map(float, images.aminmax())  # NaN if any pixel is
    if not isfinite(low) or not isfinite(high):
        bad = torch.nonzero(~images.isfinite().flatten(1).all(1)).flatten()
        raise InputError(
            f"{len(bad)} images hold NaN or infinite pixels (the first at position {int(bad[0])}), but pixels "
            "must be finite: remove or repair them."
        )
    return low, high


def check_labels(labels: Tensor, num_images: int, num_classes: int) -> None:
    """Check that there is one label per image and that each names a class."""
    if labels.dtype != torch.int64 or labels.shape != (num_images,):
        raise InputError(
            f"Labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be int64 of shape "
            f"({num_images},), one for each image."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise InputError(
            f"Labels run from {low} to {high}, but {num_classes} classes need labels 0 to {num_classes - 1}: "
            "renumber the labels or name every class."
        )


def check_soft_labels(soft: Tensor | None, num_images: int, num_classes: int) -> None:
    """Check that there is one distribution for each decoded image."""
    if soft is None:
        return
    if soft.dtype != torch.float32 or soft.shape != (num_images, num_classes):
        raise InputError(
            f"Soft labels are {soft.dtype} of shape {tuple(soft.shape)}, but must be float32 of shape "
            f"({num_images}, {num_classes}): one distribution over the classes for each decoded image."
        )
    if not bool((soft >= 0).all()) or not bool(((soft.sum(1) - 1).abs() < _ROUNDING).all()):
        raise InputError(
            "Soft labels must be distributions, but a row has a negative or NaN entry or does not sum to 1: divide "
            "each row by its sum, or apply softmax to logits."
        )


def check_normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int, ends: tuple[float, float]
) -> None:
    """Check that there is one usable mean and std per channel, and that networks see finite numbers by them."""
    if len(mean) != channels or len(std) != channels:
        raise InputError(
            f"Normalisation has {len(mean)} means and {len(std)} stds, but images have {channels} channels: "
            "give one of each per channel."
        )
    # Networks see float32, in which a std of 1e-300 is 0.
    with np.errstate(all="ignore"):
        means, stds = (np.array(given, dtype=np.float32) for given in (mean, std))
        seen = [(np.float32(end) - means) / stds for end in ends]
    if not np.isfinite([means, stds]).all() or not (stds > 0).all():
        raise InputError(
            f"Normalisation mean {mean}, std {std} must be finite in float32 with every std above 0."
        )
    if not np.isfinite(seen).all():
        raise InputError(
            f"With the normalisation mean {mean}, std {std} these pixels are beyond float32: give the normalisation of "
            "the data set, or scale the pixels."
        )
