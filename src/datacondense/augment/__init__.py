"""Augmentation of whole batches from an explicit draw."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.augment.names import OPERATIONS, STRATEGIES, check_strategy
    from datacondense.augment.per_image import AugmentationDraw, apply_augmentation, draw_augmentation
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "names": ["OPERATIONS", "STRATEGIES", "check_strategy"],
            "per_image": ["AugmentationDraw", "apply_augmentation", "draw_augmentation"],
        },
    )

__all__ = [
    "OPERATIONS",
    "STRATEGIES",
    "AugmentationDraw",
    "apply_augmentation",
    "check_strategy",
    "draw_augmentation",
]
