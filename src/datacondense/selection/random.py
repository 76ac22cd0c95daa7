"""The plainest baseline: images drawn at random, the same number from each class."""

import torch
from torch import Tensor

from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator
from datacondense.selection.by_class import Ipc, select_by_class


def select_random(train: ImageSet, ipc: Ipc, seed: int) -> ImageSet:
    """Select images uniformly, class by class, without replacement.

    Args:
        train: The real images.
        ipc: Images per class, or the number of each class.
        seed: Seed of the selection.

    Returns:
        The selected images, class by class; the provenance keeps their positions in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none; or the seed is negative.
    """

    def choose(label: int, members: Tensor, number: int) -> Tensor:
        return torch.randperm(len(members), generator=seeded_generator(seed, "random selection", label))[
            :number
        ]

    return select_by_class(train, ipc, choose, method="random", run={"seed": seed})
