"""Augmentation strategies by name.

none                 no augmentation
crop-scale-rotate    each image gets one of the operations (`OPERATIONS`)
dsa:color-crop       differentiable Siamese augmentation: each batch gets one (`SIAMESE_OPERATIONS`)
dsa                  the same with every operation that leaves the classes of the data set as they are
"""

import torch
from torch import Tensor

from datacondense.augment.per_image import OPERATIONS, apply_augmentation, draw_augmentation
from datacondense.augment.siamese import SIAMESE_OPERATIONS, apply_siamese, draw_siamese
from datacondense.errors import InputError

_SIAMESE = "dsa"
_PREFIX = f"{_SIAMESE}:"


def augmented(strategy: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images `[N, C, H, W]`, each augmented by random numbers of its own; the batch itself for "none"."""
    check_strategy(strategy)
    if strategy == "none":
        return images
    n, c, h, w = images.shape
    if is_siamese(strategy):
        return apply_siamese(draw_siamese(siamese_operations(strategy), n, (c, h, w), generator), images)
    return apply_augmentation(draw_augmentation(strategy, (n, c, h, w), generator), images)


def changed(
    strategy: str, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a batch to train on: images `[B, C, H, W]`, augmented, and their labels."""
    return augmented(strategy, images, generator), labels


def check_strategy(strategy: str) -> None:
    """Check the name of a strategy: "none", "dsa", or operations joined by hyphens, Siamese ones after "dsa:"."""
    names = strategy.removeprefix(_PREFIX).split("-")
    known = SIAMESE_OPERATIONS if is_siamese(strategy) else OPERATIONS
    if strategy not in {"none", _SIAMESE} and (len(set(names)) < len(names) or not set(names) <= set(known)):
        raise InputError(
            f"Augmentation strategy {strategy!r} is unknown: give 'none', or some of {', '.join(OPERATIONS)} "
            f"joined by hyphens, each once, such as 'crop-scale-rotate', or {_SIAMESE!r}, or {_PREFIX!r} before some "
            f"of {', '.join(SIAMESE_OPERATIONS)}, such as 'dsa:color-crop-cutout'."
        )


def is_siamese(strategy: str) -> bool:
    """Whether a strategy is a differentiable Siamese augmentation, "dsa" or a name that begins with "dsa:"."""
    return strategy == _SIAMESE or strategy.startswith(_PREFIX)


def siamese_operations(strategy: str) -> str:
    """Return the operations that a Siamese strategy spells out, in the order of `SIAMESE_OPERATIONS`."""
    check_strategy(strategy)
    if not strategy.startswith(_PREFIX):
        raise InputError(
            f"Augmentation strategy {strategy!r} names no Siamese operations: spell them out, such as "
            "'dsa:color-crop-cutout'."
        )
    names = strategy.removeprefix(_PREFIX).split("-")
    return "-".join(name for name in SIAMESE_OPERATIONS if name in names)


def resolved_strategy(strategy: str, *, mirrored: bool) -> str:
    """Return a strategy in full: "dsa" with its operations, of which flip only where images may be `mirrored`."""
    check_strategy(strategy)
    if strategy == _SIAMESE:
        return _PREFIX + "-".join(name for name in SIAMESE_OPERATIONS if mirrored or name != "flip")
    return _PREFIX + siamese_operations(strategy) if is_siamese(strategy) else strategy


def check_siamese(strategy: str) -> None:
    """Check that a Siamese augmentation is "none", "dsa", or "dsa:" with operations."""
    if strategy != "none" and not is_siamese(strategy):
        raise InputError(
            f"siamese is {strategy!r}, but must be 'none', 'dsa', or operations such as 'dsa:color-crop-flip'."
        )
    check_strategy(strategy)
