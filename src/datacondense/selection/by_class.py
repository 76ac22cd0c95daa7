"""What every selection shares: the loop over classes, the check of `ipc`, the provenance, and images in tiles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from datacondense.decoder import check_factor, encode
from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from datacondense.settings import IpcOf, images_per_class

Choice: TypeAlias = Callable[[int, Tensor, int], Tensor]
Ipc: TypeAlias = int | Sequence[int]
"""Images per class, or the number of each class."""


def select_by_class(
    train: ImageSet, ipc: Ipc, choose: Choice, *, method: str, run: Mapping[str, Any] | None = None
) -> ImageSet:
    """Return images of each class, their positions in the provenance as "indices".

    `choose` gets a class number, the positions `[n]` of its images in `train` and how many are wanted, and returns as
    many different places among these, from 0 to n-1. `run` is what else decided the choice, such as a seed.
    """
    check_trainable(train)
    numbers = [ipc] * train.num_classes if isinstance(ipc, int) else list(ipc)
    _check_numbers(train, numbers)
    indices = torch.cat([
        members[choose(label, members, numbers[label]).to(members.device)]
        for label, members in enumerate(train.class_indices)
    ])
    record = {
        "method": method,
        "settings": {"ipc": ipc} if isinstance(ipc, int) else {"ipc": max(numbers), "sizes": numbers},
        **({} if run is None else {"run": dict(run)}),
        "source": {**train.provenance.get("source", {}), "fingerprint": train.fingerprint},
        "indices": indices.tolist(),
    }
    return replace(train.subset(indices), provenance=record)


def select_tiled(
    train: ImageSet, ipc: int, ipc_of: IpcOf, factor: int, choose: Callable[[Ipc], ImageSet]
) -> ImageSet:
    """Select f² images for each stored one, by a function of how many to select of each class."""
    stored = images_per_class(ipc, ipc_of, train.class_names)
    tiles = [number * factor**2 for number in stored]
    return tiled(choose(tiles if ipc_of else tiles[0]), factor)


def tiled(selected: ImageSet, factor: int) -> ImageSet:
    """Shrink images into tiles, f² consecutive ones of a class in each stored image, rounded to whole numbers.

    Its provenance says "factor", and has the positions of all that it is made of. Soft labels are those of each tile.
    """
    if factor == 1:
        return selected
    check_factor(factor, selected.image_shape)
    tiles = selected.pixels().unflatten(0, (-1, factor**2))
    number = factor**2
    settings = {**selected.provenance["settings"], "factor": factor}
    settings["ipc"] //= number
    if "sizes" in settings:
        settings["sizes"] = [size // number for size in settings["sizes"]]
    return replace(
        selected,
        images=rounded(encode(tiles, factor), selected),
        labels=selected.labels[::number],
        factor=factor,
        provenance={**selected.provenance, "settings": settings},
    )


def rounded(pixels: Tensor, like: ImageSet) -> Tensor:
    """Return pixels as whole numbers; as they are where a set is whitened, whose scale has no ends."""
    return pixels if like.whitening else (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _check_numbers(train: ImageSet, numbers: Sequence[int]) -> None:
    """Check that every class has as many images as are requested."""
    if len(numbers) != train.num_classes:
        raise InputError(
            f"ipc has {len(numbers)} numbers, but there are {train.num_classes} classes: give one for each, or one for "
            "all."
        )
    for name, size, ipc in zip(train.class_names, train.class_sizes, numbers, strict=True):
        if ipc < 1 or ipc > size:
            raise InputError(
                f"ipc is {ipc}, but the class {name!r} has {size} images to select from: give 1 to {size}."
            )
