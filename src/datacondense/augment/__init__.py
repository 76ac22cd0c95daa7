"""Augmentation of whole batches from an explicit draw."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.augment.by_name import augmented
    from datacondense.augment.names import (
        OPERATIONS,
        SIAMESE_OPERATIONS,
        STRATEGIES,
        check_strategy,
        is_siamese,
        settled_strategy,
        siamese_operations,
    )
    from datacondense.augment.per_image import AugmentationDraw, apply_augmentation, draw_augmentation
    from datacondense.augment.siamese import SiameseDraw, apply_siamese, draw_siamese
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "by_name": ["augmented"],
            "names": [
                "OPERATIONS",
                "SIAMESE_OPERATIONS",
                "STRATEGIES",
                "check_strategy",
                "is_siamese",
                "settled_strategy",
                "siamese_operations",
            ],
            "per_image": ["AugmentationDraw", "apply_augmentation", "draw_augmentation"],
            "siamese": ["SiameseDraw", "apply_siamese", "draw_siamese"],
        },
    )

__all__ = [
    "OPERATIONS",
    "SIAMESE_OPERATIONS",
    "STRATEGIES",
    "AugmentationDraw",
    "SiameseDraw",
    "apply_augmentation",
    "apply_siamese",
    "augmented",
    "check_strategy",
    "draw_augmentation",
    "draw_siamese",
    "is_siamese",
    "settled_strategy",
    "siamese_operations",
]
