"""Augmentation of a training batch by the name of its strategy."""

import torch
from torch import Tensor

from datacondense.augment.names import is_siamese, siamese_operations
from datacondense.augment.per_image import apply_augmentation, draw_augmentation
from datacondense.augment.siamese import apply_siamese, draw_siamese


def augmented(strategy: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Change each image of a batch by fresh random numbers of its own.

    Args:
        strategy: The name, as `resolved_strategy` gives it.
        images: Normalised images `[N, C, H, W]`, float32 or float64; left as they are.
        generator: A CPU generator; nothing is drawn for "none".

    Returns:
        A new tensor `[N, C, H, W]` of the same type, on the same device; the batch itself for "none".

    Raises:
        InputError: The strategy is unknown, or "dsa" without its operations.
    """
    if strategy == "none":
        return images
    n, c, h, w = images.shape
    if is_siamese(strategy):
        return apply_siamese(draw_siamese(siamese_operations(strategy), n, (c, h, w), generator), images)
    return apply_augmentation(draw_augmentation(strategy, (n, c, h, w), generator), images)
