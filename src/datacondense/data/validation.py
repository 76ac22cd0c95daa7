"""A validation part held out of the training images: settings must not be selected on the test images."""

from dataclasses import replace

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator


def hold_out(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split a set in two at random, class by class, so that both parts have the same mixture of classes.

    Args:
        images: The set, with at least 2 images of every class.
        fraction: Part of every class to hold out, between 0 and 1; rounded, but at least one image of a class
            goes to either part.
        seed: Whole number from 0 that decides which images.

    Returns:
        The rest and the validation part, each in the order of the set, with its classes and normalisation; their
        provenance says so under "hold_out".

    Raises:
        InputError: The fraction is not between 0 and 1, or a class has fewer than 2 images.
    """
    if not 0 < fraction < 1:
        raise InputError(
            f"The fraction to hold out is {fraction}, but must be between 0 and 1: choose one such as 0.1."
        )
    generator = seeded_generator(seed, "validation")
    held: list[Tensor] = []
    for name, indices in zip(images.class_names, images.class_indices, strict=True):
        if len(indices) < 2:
            raise InputError(
                f"Class {name!r} has {len(indices)} image(s), but holding out needs at least 2 of every class: add "
                "images of it or remove the class."
            )
        count = min(max(1, round(fraction * len(indices))), len(indices) - 1)
        held.append(indices[torch.randperm(len(indices), generator=generator)[:count].to(indices.device)])
    is_held = torch.zeros(len(images), dtype=torch.bool, device=images.labels.device)
    is_held[torch.cat(held)] = True
    rest, validation = (
        replace(
            images.subset(torch.nonzero(part).flatten()),
            provenance={**images.provenance, "hold_out": {"part": name, "fraction": fraction, "seed": seed}},
        )
        for part, name in ((~is_held, "rest"), (is_held, "validation"))
    )
    return rest, validation
