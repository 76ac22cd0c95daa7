"""Augmentation strategies by name.

none                 no augmentation
crop-scale-rotate    each image gets one of the operations (`OPERATIONS`)
dsa:color-crop       differentiable Siamese augmentation: each batch gets one (`SIAMESE_OPERATIONS`)
dsa                  the same with every operation that leaves the classes of the data set as they are
idc:color-crop-flip  several Siamese operations at once, as in IDC (`ORDER`)
idc                  the same with every operation that leaves the classes of the data set as they are
"""

import torch
from torch import Tensor

from datacondense.augment.cutmix import mixed
from datacondense.augment.per_image import OPERATIONS, apply_augmentation, draw_augmentation
from datacondense.augment.siamese import SIAMESE_OPERATIONS, SiameseDraw, apply_siamese, draw_siamese
from datacondense.errors import InputError

ORDER = (("color",), ("crop", "scale", "rotate"), ("flip",), ("cutout",))
"""Where several are applied (Kim et al. 2022), one operation of each group is, in this order; it does not matter where
images are mirrored, as all other operations are as likely to the left as to the right."""
_SIAMESE, _SEVERAL = "dsa", "idc"


def augmented(strategy: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images `[N, C, H, W]`, each augmented by random numbers of its own; the batch itself for "none"."""
    check_strategy(strategy)
    if strategy == "none":
        return images
    n, c, h, w = images.shape
    if is_siamese(strategy):
        return apply_view(draw_view(strategy, n, (c, h, w), generator), images)
    return apply_augmentation(draw_augmentation(strategy, (n, c, h, w), generator), images)


def changed(
    strategy: str,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    num_classes: int = 0,
    cutmix: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return a batch to train on: images `[B, C, H, W]`, augmented, then mixed with probability `cutmix`, and labels.

    Labels are returned as they are where no batch is mixed, else as distributions `[B, num_classes]`.
    """
    images = augmented(strategy, images, generator)
    return mixed(images, labels, num_classes, generator, cutmix) if cutmix else (images, labels)


def draw_view(
    strategy: str, number: int, image_shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[SiameseDraw, ...]:
    """Draw the operations of a resolved Siamese strategy, and their numbers: one, or after "idc:" one of each group.

    `number` is 1 for numbers that serve a batch of any size, or N for numbers of each image; see `draw_siamese`.
    """
    names = siamese_operations(strategy)
    groups = [names]
    if strategy.startswith(_SEVERAL):
        listed = names.split("-")
        groups = ["-".join(name for name in group if name in listed) for group in ORDER]
    return tuple(draw_siamese(group, number, image_shape, generator) for group in groups if group)


def apply_view(drawn: tuple[SiameseDraw, ...], images: Tensor) -> Tensor:
    """Return normalised images `[N, C, H, W]` augmented by one draw after the other; differentiable in them."""
    for draw in drawn:
        images = apply_siamese(draw, images)
    return images


def check_strategy(strategy: str) -> None:
    """Check the name of a strategy: "none", "dsa", "idc", or operations, Siamese ones after "dsa:" or "idc:"."""
    names = (strategy.partition(":")[2] if is_siamese(strategy) else strategy).split("-")
    known = SIAMESE_OPERATIONS if is_siamese(strategy) else OPERATIONS
    plain = strategy in {"none", _SIAMESE, _SEVERAL}
    if not plain and (len(set(names)) < len(names) or not set(names) <= set(known)):
        raise InputError(
            f"Augmentation strategy {strategy!r} is unknown: give 'none', or some of {', '.join(OPERATIONS)} "
            f"joined by hyphens, each once, such as 'crop-scale-rotate', or 'dsa' or 'idc', or 'dsa:' or 'idc:' before "
            f"some of {', '.join(SIAMESE_OPERATIONS)}, such as 'dsa:color-crop-cutout'."
        )


def is_siamese(strategy: str) -> bool:
    """Whether a strategy is of Siamese operations: "dsa", "idc" or a name that begins with "dsa:" or "idc:"."""
    return strategy.partition(":")[0] in {_SIAMESE, _SEVERAL}


def siamese_operations(strategy: str) -> str:
    """Return the operations that a Siamese strategy spells out, in the order of `SIAMESE_OPERATIONS`."""
    check_strategy(strategy)
    if not is_siamese(strategy) or ":" not in strategy:
        raise InputError(
            f"Augmentation strategy {strategy!r} names no Siamese operations: spell them out, such as "
            "'dsa:color-crop-cutout'."
        )
    names = strategy.partition(":")[2].split("-")
    return "-".join(name for name in SIAMESE_OPERATIONS if name in names)


def resolved_strategy(strategy: str, *, mirrored: bool) -> str:
    """Return a strategy in full: "dsa" or "idc" with its operations, flip only where images may be `mirrored`."""
    check_strategy(strategy)
    if not is_siamese(strategy):
        return strategy
    kind, spelled_out, _ = strategy.partition(":")
    every = "-".join(name for name in SIAMESE_OPERATIONS if mirrored or name != "flip")
    return f"{kind}:{siamese_operations(strategy) if spelled_out else every}"


def check_siamese(strategy: str) -> None:
    """Check that a Siamese augmentation is "none", "dsa", "idc", or one of these with operations."""
    if strategy != "none" and not is_siamese(strategy):
        raise InputError(
            f"siamese is {strategy!r}, but must be 'none', 'dsa', 'idc', or operations such as 'dsa:color-crop-flip'."
        )
    check_strategy(strategy)
