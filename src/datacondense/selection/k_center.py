"""Greedy k-center (Sener and Savarese 2018): images such that no image is far from all of them."""

import torch
from torch import Tensor

from datacondense.image_set import ImageSet
from datacondense.selection.by_class import Ipc
from datacondense.selection.by_features import distances_to, scaled_rows, select_by_features


def select_k_center(train: ImageSet, ipc: Ipc, features: Tensor) -> ImageSet:
    """Select centres farthest first, class by class; see `farthest_first` for the rule.

    Args:
        train: The real images.
        ipc: Images per class, or the number of each class.
        features: One row of finite numbers per image of `train`, `[N, D]`, such as a network's activations
            before its last layer; any floating dtype, any device.

    Returns:
        The selected images, class by class, each class in the order of selection; the provenance keeps their positions
        in `train` as "indices". Deterministic: of equally good images the one with the lowest position is selected.

    Raises:
        InputError: A class has fewer than `ipc` images, or none; or the features are not one row of finite
            numbers per image.
    """
    return select_by_features(train, ipc, features, farthest_first, method="k-center")


def farthest_first(features: Tensor, count: int) -> Tensor:
    """Return `count` rows of one class, ordered as greedy k-center does (Sener and Savarese 2018, algorithm 1).

    The first centre is the row nearest the mean. Each further centre is the row f, not selected before, with the
    largest `min over centres c of ||f - c||`; of equally good rows the lowest comes first. No row is then farther from
    its nearest centre than twice the smallest radius that any `count` centres reach. The memory is a float64 copy of
    the rows and a scaled one, the time one pass over the rows per choice.
    """
    rows, mean = scaled_rows(features, count)
    order = torch.empty(count, dtype=torch.int64)
    order[0] = distances_to(mean, rows).argmin()
    to_nearest = torch.full((len(rows),), torch.inf, dtype=rows.dtype)
    for step in range(1, count):
        centre = order[step - 1]
        to_nearest = torch.minimum(to_nearest, distances_to(rows[centre], rows))
        to_nearest[centre] = -1  # below the distance 0 of a copy that was not selected
        order[step] = to_nearest.argmax()
    return order.to(features.device)
