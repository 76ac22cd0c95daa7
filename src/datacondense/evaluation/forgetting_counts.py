"""Forgetting (Toneva et al. 2019), counted: images that a network in training gets right, and then wrong again."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

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
        """Return the counts before training.

        Args:
            num_images: Images N.
            device: Where the counts are kept.

        Returns:
            No image was seen.
        """
        unseen = torch.zeros(num_images, dtype=torch.bool, device=device)
        return ForgettingCounts(unseen, unseen, torch.zeros(num_images, dtype=torch.int64, device=device))

    def seen(self, positions: Tensor, right: Tensor) -> "ForgettingCounts":
        """Return the counts after a batch, as the network classified it before it learned from it.

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
        """Compute how forgettable each image is: how often it was forgotten.

        Args:
            never_learned: Where images come that were never right: "first", as in the paper, which counts them as
                forgotten more often than any other; or "last", which leaves out what no network may be able to learn,
                such as wrong labels.

        Returns:
            int64 `[N]`; the highest are to be selected first.
        """
        if never_learned == "last":
            return torch.where(self.learned, self.forgotten, -1)
        most = int(self.forgotten.max()) + 1 if len(self.forgotten) else 0
        return torch.where(self.learned, self.forgotten, most)
