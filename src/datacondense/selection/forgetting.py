"""Forgetting (Toneva et al. 2019): images that a network in training gets right, and then wrong again, most often."""

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.by_class import Ipc, select_by_class


def select_forgetting(train: ImageSet, ipc: Ipc, scores: Tensor) -> ImageSet:
    """Select the most forgettable images, class by class.

    With few epochs many images are forgotten equally often, and those never learned, the most forgettable, are all
    equal: of equal ones the lowest position is selected first.

    Args:
        train: The real images.
        ipc: Images per class, or the number of each class.
        scores: How forgettable each image of `train` is, `[N]`, as `ForgettingCounts.scores` gives it; any dtype that
            can be ordered, without NaN.

    Returns:
        The selected images, class by class, each class with the most forgettable first; the provenance keeps their
        positions in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none; or there is not one score per image, or one is NaN.
    """
    _check_scores(scores, len(train))

    def choose(_: int, members: Tensor, number: int) -> Tensor:
        return scores[members.to(scores.device)].argsort(descending=True, stable=True)[:number]

    return select_by_class(train, ipc, choose, method="forgetting")


def _check_scores(scores: Tensor, num_images: int) -> None:
    """Check that there is one score per image, and that scores can be ordered."""
    if scores.shape != (num_images,):
        raise InputError(
            f"Scores have shape {tuple(scores.shape)}, but {num_images} images need ({num_images},): give one score "
            "for each image, in the order of the images."
        )
    bad = torch.nonzero(scores.isnan()).flatten()
    if len(bad) > 0:
        raise InputError(
            f"The scores of {len(bad)} images are NaN (the first at position {int(bad[0])}), which has no place in an "
            "order: repair what computed them."
        )
