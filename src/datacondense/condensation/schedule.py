"""How many matching steps and network epochs belong to a number of images per class."""

from typing import NamedTuple

import numpy as np

# Network epochs ς between two matching steps, by images per class, from the published code.
_PUBLISHED = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10}


class Schedule(NamedTuple):
    """The loop lengths within one iteration.

    Attributes:
        matching_steps: Updates of the images on one network, T.
        network_epochs: Passes over the synthetic images that train the network between two of them, ς.
    """

    matching_steps: int
    network_epochs: int


def published_schedule(ipc: int) -> Schedule:
    """Return T and ς for any number of images per class.

    The published values exist for 1, 10, 20, 30, 40 and 50 images per class. There T equals ipc, and so it does
    between them; ς is interpolated linearly between its two neighbours and rounded. Beyond 50 the values of 50 stay,
    as the authors advise.

    Args:
        ipc: Images per class, from 1.

    Returns:
        T and ς.
    """
    epochs = np.interp(ipc, [*_PUBLISHED], [*_PUBLISHED.values()])
    return Schedule(matching_steps=min(ipc, max(_PUBLISHED)), network_epochs=round(float(epochs)))
