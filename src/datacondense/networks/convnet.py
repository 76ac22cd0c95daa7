"""ConvNet: the family that most condensed sets are learned on (Gidaris and Komodakis 2018; Zhao et al. 2021)."""

from math import prod

from torch import nn

from datacondense.errors import InputError
from datacondense.networks.layers import (
    ImageShape,
    activation_layer,
    border,
    norm_layers,
    padded,
    pooling_layers,
)
from datacondense.networks.names import ConvNetSpec, canonical_name


def build_convnet(spec: ConvNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a ConvNet: depth x [3x3 convolution, norm, activation, 2x2 pooling], then one linear layer.

    Args:
        spec: Width, depth, activation, norm and pooling.
        image_shape: C, H, W of the images.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.

    Raises:
        InputError: The image cannot be halved as many times as the network is deep.
    """
    channels, *sides = image_shape
    extra = border(image_shape)
    height, width = (side + 2 * pixels for side, pixels in zip(sides, extra, strict=True))
    if spec.pooling != "none":
        _check_depth(spec, (height, width), image_shape)
    layers: list[nn.Module] = []
    for block in range(spec.depth):
        padding = padded(1, extra if block == 0 else (0, 0))
        layers += [
            nn.Conv2d(channels, spec.width, 3, padding=padding),
            *norm_layers(spec.norm, spec.width, (height, width)),
            activation_layer(spec.activation),
            *pooling_layers(spec.pooling),
        ]
        channels = spec.width
        if spec.pooling != "none":
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(prod((channels, height, width)), num_classes))


def _check_depth(spec: ConvNetSpec, inner_size: tuple[int, int], image_shape: ImageShape) -> None:
    """Check that a pixel is left after the last pooling."""
    halvings = min(inner_size).bit_length() - 1
    if spec.depth > halvings:
        _, height, width = image_shape
        raise InputError(
            f"{canonical_name(spec)} pools {spec.depth} times, but images of {height}x{width} can be halved "
            f"{halvings} times only: use -d{halvings} or fewer, larger images, or -nopool."
        )
