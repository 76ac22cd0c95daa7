"""Build networks from their names, or from the user's own code."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from datacondense.errors import InputError
from datacondense.networks.custom import build_custom
from datacondense.networks.families import BUILDERS
from datacondense.networks.initial_values import draw_parameters, initial_buffers
from datacondense.networks.layers import ImageShape
from datacondense.networks.names import CustomSpec, canonical_name, parse_name
from datacondense.networks.network import Network
from datacondense.networks.torch_state import usual_torch

_MOST_PARAMETERS = 10**9  # 4 GB, of which training needs several
SMALLEST_SIDE = 8  # pixels; the size of the embedded digits, and what three halvings need


@usual_torch()
def build_network(name: str | Callable[..., Any], image_shape: ImageShape, num_classes: int) -> Network:
    """Build a network; no global generator is read or seeded.

    Args:
        name: A family with tokens, such as "convnet-w64-d2-bn" (see `names`); or the user's own network as
            "package.module:callable" or as the callable itself, called as `callable(image_shape, num_classes)`.
        image_shape: Channels, height and width of the images.
        num_classes: The number of classes K.

    Returns:
        The network; parameters come from its `draw`.

    Raises:
        InputError: The name is unknown, the images are too small for the network, there is no class, or the user's
            own network cannot be imported or does not return logits `[N, K]`.
    """
    spec = parse_name(name)
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}, but a network needs at least 1: count the classes.")
    if isinstance(spec, CustomSpec):
        return build_custom(name, image_shape, num_classes)
    canonical, (channels, height, width) = canonical_name(spec), image_shape
    if channels < 1 or min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{canonical} takes images of at least 1 channel and {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels, but these "
            f"have {channels} and {height}x{width}: enlarge the images, or give your own network as "
            "package.module:callable."
        )
    with torch.device("meta"):  # no memory, and no random numbers drawn to be thrown away
        structure = BUILDERS[type(spec)](spec, image_shape, num_classes)
    size = sum(parameter.numel() for parameter in structure.parameters())
    if size > _MOST_PARAMETERS:
        raise InputError(
            f"{canonical} for {num_classes} classes of {channels}x{height}x{width} pixels has {size:.1e} parameters, "
            f"but can have {_MOST_PARAMETERS:.0e} at most: choose a smaller network or smaller images."
        )
    return Network(
        name=canonical,
        image_shape=image_shape,
        num_classes=num_classes,
        structure=structure,
        draw=partial(draw_parameters, structure),
        buffers=initial_buffers(structure),
    )
