"""What every selection shares: the loop over classes, the check of `ipc`, and the provenance of what was selected."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable

Choice: TypeAlias = Callable[[int, Tensor], Tensor]


def select_by_class(
    train: ImageSet, ipc: int, choose: Choice, *, method: str, run: Mapping[str, Any] | None = None
) -> ImageSet:
    """Select the same number of images from each class.

    Args:
        train: The real images.
        ipc: Images per class.
        choose: From a class number and the positions `[n]` of its images in `train`, selects: `ipc`
            different numbers `[ipc]` from 0 to n-1, each a place among those positions.
        method: The method's name in the provenance.
        run: What else decided the choice, such as a seed, for the provenance; nothing where None.

    Returns:
        The selected images, class by class; the provenance keeps their positions in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none.
    """
    check_trainable(train)
    _check_ipc(train, ipc)
    indices = torch.cat([
        members[choose(label, members).to(members.device)]
        for label, members in enumerate(train.class_indices)
    ])
    record = {
        "method": method,
        "settings": {"ipc": ipc},
        **({} if run is None else {"run": dict(run)}),
        "source": {**train.provenance.get("source", {}), "fingerprint": train.fingerprint},
        "indices": indices.tolist(),
    }
    return replace(train.subset(indices), provenance=record)


def _check_ipc(train: ImageSet, ipc: int) -> None:
    """Check that every class has as many images as are requested."""
    for name, size in zip(train.class_names, train.class_sizes, strict=True):
        if ipc < 1 or ipc > size:
            raise InputError(
                f"ipc is {ipc}, but the class {name!r} has {size} images to select from: give 1 to {size}."
            )
