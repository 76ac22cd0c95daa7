"""Augmentation of whole batches from an explicit draw."""

from datacondense.augment.per_image import (
    OPERATIONS,
    STRATEGIES,
    AugmentationDraw,
    apply_augmentation,
    check_strategy,
    draw_augmentation,
)

__all__ = [
    "OPERATIONS",
    "STRATEGIES",
    "AugmentationDraw",
    "apply_augmentation",
    "check_strategy",
    "draw_augmentation",
]
