"""Small image sets for tests."""

from dataclasses import replace

import torch
from torch import Tensor

from datacondense.image_set import ImageSet


def read_images() -> ImageSet:
    """Three uint8 images of two channels, 1×2 pixels."""
    pixels = [[[[0, 51]], [[102, 153]]], [[[204, 255]], [[0, 0]]], [[[255, 255]], [[51, 51]]]]
    return ImageSet(
        images=torch.tensor(pixels, dtype=torch.uint8),
        labels=torch.tensor([1, 0, 1]),
        class_names=("cat", "Größe"),
        mean=(0.5, 0.25),
        std=(0.5, 0.1),
        provenance={"method": "none", "run": {"seed": 3}, "notes": ["a", None, 1.5]},
        dataset="pets",
        may_be_mirrored=False,
        augmentation="crop",
    )


def learned_images() -> ImageSet:
    """Three float32 images, of which some pixels lie outside 0 to 1."""
    images = torch.linspace(-0.25, 1.25, 12).view(3, 2, 1, 2)
    return replace(read_images(), images=images)


def facts(images: ImageSet) -> tuple[str | None, bool, str]:
    return images.dataset, images.may_be_mirrored, images.augmentation


def with_pixel(value: float, position: int) -> Tensor:
    images = torch.zeros(3, 2, 1, 2)
    images[position, 0, 0, 0] = value
    return images
