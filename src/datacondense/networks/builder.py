"""Names become networks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from datacondense.errors import InputError
from datacondense.networks.alexnet import build_alexcifarnet, build_alexnet
from datacondense.networks.convnet import build_convnet
from datacondense.networks.custom import build_custom
from datacondense.networks.initial_values import draw_parameters, initial_buffers
from datacondense.networks.layers import ImageShape
from datacondense.networks.lenet import build_lenet
from datacondense.networks.mlp import build_mlp
from datacondense.networks.names import (
    AlexCifarNetSpec,
    AlexNetSpec,
    ConvNetSpec,
    CustomSpec,
    LeNetSpec,
    MLPSpec,
    ResNetSpec,
    VGGSpec,
    canonical_name,
    parse_name,
)
from datacondense.networks.network import Network
from datacondense.networks.resnet import build_resnet18
from datacondense.networks.vgg import build_vgg11

SMALLEST_SIDE = 8  # pixels; the size of the embedded digits, and what three halvings need

_BUILDERS: Mapping[type[Any], Callable[[Any, ImageShape, int], nn.Module]] = {
    ConvNetSpec: build_convnet,
    MLPSpec: build_mlp,
    LeNetSpec: build_lenet,
    AlexNetSpec: build_alexnet,
    AlexCifarNetSpec: build_alexcifarnet,
    VGGSpec: build_vgg11,
    ResNetSpec: build_resnet18,
}


def build_network(name: str, image_shape: ImageShape, num_classes: int) -> Network:
    """Build a network from its short name; no global generator is read or seeded.

    Args:
        name: A family with tokens, such as "convnet-w64-d2-bn" (see `names`), or the user's own network as
            "package.module:callable", called as `callable(image_shape, num_classes)`.
        image_shape: Channels, height and width of the images.
        num_classes: The number of classes K.

    Returns:
        The network; parameters come from its `draw`.

    Raises:
        InputError: The name is unknown, the images are too small for the network, there is no class, or the user's
            own network cannot be imported or does not give logits `[N, K]`.
    """
    spec = parse_name(name)
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}, but a network needs at least 1: count the classes.")
    if isinstance(spec, CustomSpec):
        return build_custom(spec, image_shape, num_classes)
    _check_size(name, image_shape)
    with torch.device("meta"):  # no memory, and no random numbers drawn to be thrown away
        structure = _BUILDERS[type(spec)](spec, image_shape, num_classes)
    return Network(
        name=canonical_name(spec),
        image_shape=image_shape,
        num_classes=num_classes,
        structure=structure,
        draw=partial(draw_parameters, structure),
        buffers=initial_buffers(structure),
    )


def _check_size(name: str, image_shape: ImageShape) -> None:
    """Check that images are large enough for the networks of this library."""
    channels, height, width = image_shape
    if channels < 1 or min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{name} takes images of at least 1 channel and {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels, but these have "
            f"{channels} and {height}x{width}: enlarge the images, or give your own network as package.module:callable."
        )
