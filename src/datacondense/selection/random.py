"""The plainest baseline: images drawn at random, the same number from each class."""

from dataclasses import replace

import torch

from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from datacondense.random_streams import stream


def select_random(train: ImageSet, ipc: int, seed: int) -> ImageSet:
    """Select images uniformly, class by class, without replacement.

    Args:
        train: The real images.
        ipc: Images per class.
        seed: Seed of the choice.

    Returns:
        The chosen images, class by class; the record keeps their positions in `train` as "indices".

    Raises:
        InputError: A class has fewer than `ipc` images, or none.
    """
    check_trainable(train)
    chosen = []
    for label, members in enumerate(train.class_indices):
        if ipc < 1 or ipc > len(members):
            raise InputError(
                f"ipc is {ipc}, but the class {train.class_names[label]!r} has {len(members)} images to choose from: "
                f"give 1 to {len(members)}."
            )
        order = torch.randperm(len(members), generator=stream(seed, "random selection", label))
        chosen.append(members[order[:ipc].to(members.device)])
    indices = torch.cat(chosen)
    record = {
        "method": "random",
        "settings": {"ipc": ipc},
        "run": {"seed": seed},
        "source": {**train.record.get("source", {}), "fingerprint": train.fingerprint},
        "indices": indices.tolist(),
    }
    return replace(train.subset(indices), record=record)
