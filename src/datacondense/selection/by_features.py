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
from datacondense.selection.by_class import Ipc, select_by_class

Order: TypeAlias = Callable[[Tensor, int], Tensor]

_CHECKED_AT_ONCE = 4096  # rows; bounds the memory that the check adds


def select_by_features(train: ImageSet, ipc: Ipc, features: Tensor, order: Order, *, method: str) -> ImageSet:
    """Return images selected from each class by a rule that sees its features alone.

    `features` are one row of finite numbers per image of `train`, `[N, D]`; of any floating dtype, on any device. The
    rule takes those of one class `[n, D]` and a count, and returns the rows `[count]` to select.
    """
    check_features(features, len(train))

    def choose(_: int, members: Tensor, number: int) -> Tensor:
        return order(features[members.to(features.device)], number)

    return select_by_class(train, ipc, choose, method=method)


def check_features(features: Tensor, num_images: int) -> None:
    """Check that features `[N, D]` are one row of finite floating-point numbers per image."""
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
    """Return n times the features `[n, D]` of a class, and n times their mean `[D]`, float64 on the CPU."""
    if count < 1 or count > len(features):
        raise InputError(
            f"count is {count}, but there are {len(features)} rows to select from: give 1 to {len(features)}."
        )
    rows = features.detach().cpu().double()
    # Without a division, whole-number features give exact distances, and ties are seen as ties.
    return rows * len(rows), rows.sum(0)


def distances_to(point: Tensor, rows: Tensor) -> Tensor:
    """Compute how far each row `[n, D]` is from a point `[D]`; equal rows are equally far, to the last bit."""
    return torch.cdist(rows, point[None], compute_mode="donot_use_mm_for_euclid_dist").flatten()
