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
    """Return the same number of images from each class, their positions in the provenance as "indices".

    `choose` gets a class number and the positions `[n]` of its images in `train`, and returns `ipc` different places
    `[ipc]` among these, from 0 to n-1. `run` is what else decided the choice, such as a seed.
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
