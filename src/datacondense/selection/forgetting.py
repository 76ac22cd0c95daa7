"""Forgetting (Toneva et al. 2019): images that a network in training gets right, and then wrong again, most often."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.by_class import select_by_class

NeverLearned: TypeAlias = Literal["first", "last"]


class ForgettingCounts(NamedTuple):
    """What is remembered of each image while a network trains on all of them; its tensors are never changed in place.

    Attributes:
        right: Whether the image was classified rightly when it was seen last, bool `[N]`; False before.
        learned: Whether it ever was, bool `[N]`.
        forgotten: How often it was right and the next time wrong, int64 `[N]`.
    """

    right: Tensor
    learned: Tensor
    forgotten: Tensor

    @staticmethod
    def none(num_images: int, device: torch.device | str = "cpu") -> "ForgettingCounts":
        """Give the counts before training.

        Args:
            num_images: Images N.
            device: Where the counts are kept.

        Returns:
            No image was seen.
        """
        unseen = torch.zeros(num_images, dtype=torch.bool, device=device)
        return ForgettingCounts(unseen, unseen, torch.zeros(num_images, dtype=torch.int64, device=device))

    def seen(self, positions: Tensor, right: Tensor) -> "ForgettingCounts":
        """Take notice of a batch, as the network classified it before it learned from it.

        Args:
            positions: Which images, each at most once, int64 `[B]`.
            right: Whether each was classified rightly, bool `[B]`.

        Returns:
            The new counts.
        """
        return ForgettingCounts(
            self.right.index_copy(0, positions, right),
            self.learned.index_copy(0, positions, self.learned[positions] | right),
            self.forgotten.index_add(0, positions, (self.right[positions] & ~right).long()),
        )

    def scores(self, never_learned: NeverLearned = "first") -> Tensor:
        """Tell how forgettable each image is: how often it was forgotten.

        Args:
            never_learned: Where images come that were never right: "first", as in the paper, which counts them as
                forgotten more often than any other; or "last", which leaves out what no network may be able to learn,
                such as wrong labels.

        Returns:
            int64 `[N]`; the highest are to be chosen first.
        """
        if never_learned == "last":
            return torch.where(self.learned, self.forgotten, -1)
        most = int(self.forgotten.max()) + 1 if len(self.forgotten) else 0
        return torch.where(self.learned, self.forgotten, most)


def select_forgetting(train: ImageSet, ipc: int, scores: Tensor) -> ImageSet:
    """Select the most forgettable images, class by class.

    With few epochs many images are forgotten equally often, and those never learned, the most forgettable, are all
    equal: of equal ones the lowest position is chosen first.

    Args:
        train: The real images.
        ipc: Images per class.
        scores: How forgettable each image of `train` is, `[N]`, as `ForgettingCounts.scores` gives it; any dtype that
            can be ordered, without NaN.

    Returns:
        The chosen images, class by class, each class with the most forgettable first; the record keeps their positions
        in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none; or there is not one score per image, or one is NaN.
    """
    _check_scores(scores, len(train))

    def choose(_: int, members: Tensor) -> Tensor:
        return scores[members.to(scores.device)].argsort(descending=True, stable=True)[:ipc]

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
