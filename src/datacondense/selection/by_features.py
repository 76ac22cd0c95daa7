"""What the selections by features share: the check of the features, and exact distances within one class.

Distances are taken in float64 on the CPU, so that the selection depends neither on the device nor on the precision
of the features, and from differences: `|a|² - 2ab + |b|²`, the usual short cut through matrix products, loses
the small distances and gives equal rows unequal ones, depending on where a row falls in the product's blocks.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.by_class import select_by_class

Order: TypeAlias = Callable[[Tensor, int], Tensor]

_CHECKED_AT_ONCE = 4096  # rows; bounds the memory that the check adds


def select_by_features(train: ImageSet, ipc: int, features: Tensor, order: Order, *, method: str) -> ImageSet:
    """Select from each class by a rule that sees the features of the class alone.

    Args:
        train: The real images.
        ipc: Images per class.
        features: One row of finite numbers per image of `train`, `[N, D]`; any floating dtype, any device.
        order: The rule: from the features `[n, D]` of one class and a count, the rows `[count]` to select.
        method: The method's name in the provenance.

    Returns:
        The selected images, class by class; the provenance keeps their positions in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none; or the features are not one row of finite
            numbers per image.
    """
    check_features(features, len(train))

    def choose(_: int, members: Tensor) -> Tensor:
        return order(features[members.to(features.device)], ipc)

    return select_by_class(train, ipc, choose, method=method)


def check_features(features: Tensor, num_images: int) -> None:
    """Check that features are one row of finite floating-point numbers per image.

    Args:
        features: What to check, `[N, D]`.
        num_images: The number of images N.

    Raises:
        InputError: They are not.
    """
    if features.dim() != 2 or len(features) != num_images or features.shape[1] == 0:
        raise InputError(
            f"Features have shape {tuple(features.shape)}, but {num_images} images need ({num_images}, D): give "
            "one row of D numbers for each image, in the order of the images."
        )
    if not features.is_floating_point():
        raise InputError(
            f"Features are {features.dtype}, but must be floating-point numbers: convert them with features.float()."
        )
    # In float32 a float64 value beyond its range is infinite too: squares of such values would overflow.
    largest = torch.cat([rows.float().abs().amax(1) for rows in features.detach().split(_CHECKED_AT_ONCE)])
    bad = torch.nonzero(~largest.isfinite()).flatten()
    if len(bad) > 0:
        raise InputError(
            f"The features of {len(bad)} images are NaN, infinite or beyond the range of float32 (the first at "
            f"position {int(bad[0])}), but distances need finite numbers: repair these images or what computed "
            "their features."
        )


def scaled_rows(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Express the features of one class, and their mean, in units of 1/n, where the mean is the plain sum.

    No division is needed there, so whole-number features give exact distances, and ties are seen as ties.

    Args:
        features: Features of one class, `[n, D]`.
        count: How many rows are selected.

    Returns:
        n times the features `[n, D]` and n times their mean `[D]`, float64 on the CPU.

    Raises:
        InputError: `count` is not from 1 to n.
    """
    if count < 1 or count > len(features):
        raise InputError(
            f"count is {count}, but there are {len(features)} rows to select from: give 1 to {len(features)}."
        )
    rows = features.detach().cpu().double()
    return rows * len(rows), rows.sum(0)


def distances_to(point: Tensor, rows: Tensor) -> Tensor:
    """Compute how far each row is from a point; equal rows are equally far, to the last bit.

    Args:
        point: `[D]`.
        rows: `[n, D]`, of the same dtype.

    Returns:
        Euclidean distances `[n]`.
    """
    return torch.cdist(rows, point[None], compute_mode="donot_use_mm_for_euclid_dist").flatten()
