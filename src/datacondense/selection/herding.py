"""Herding (Welling 2009): images whose mean feature stays closest to the mean feature of their class."""

import torch
from torch import Tensor

from datacondense.image_set import ImageSet
from datacondense.selection.by_class import Ipc
from datacondense.selection.by_features import distances_to, scaled_rows, select_by_features


def select_herding(train: ImageSet, ipc: Ipc, features: Tensor) -> ImageSet:
    """Select by herding, class by class, without replacement; see `herding_order` for the rule.

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
    return select_by_features(train, ipc, features, herding_order, method="herding")


def herding_order(features: Tensor, count: int) -> Tensor:
    """Return `count` rows of one class by greedy herding (Welling, "Herding dynamical weights to learn", 2009).

    After the rows f_1 to f_i the next one is the row f, not selected before, with the smallest
    `||(i+1)·mean - (f_1 + … + f_i) - f||`: with it, the mean of the selected rows comes as close as one row can
    bring it to the mean of all; of equally good rows the lowest comes first. The memory is a float64 copy of the rows
    and a scaled one, the time one pass over the rows per choice.
    """
    rows, mean = scaled_rows(features, count)
    order = torch.empty(count, dtype=torch.int64)
    target = mean
    for step in range(count):
        distances = distances_to(target, rows)
        distances[order[:step]] = torch.inf
        order[step] = distances.argmin()
        target = target + mean - rows[order[step]]
    return order.to(features.device)
