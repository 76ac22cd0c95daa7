"""The layers that networks share: norms, activations, poolings, and the padding of the first convolution.

No layer works in place, so every network can be differentiated twice.
"""

from collections.abc import Iterable
from math import prod
from typing import Any

from torch import nn

from datacondense.networks.names import GROUPS, Activation, Norm, Pooling

ImageShape = tuple[int, int, int]  # C, H, W

# Layers that depend on nothing but parameters and input; among others there is no telling.
_PLAIN = (
    nn.AvgPool2d,
    nn.Conv2d,
    nn.Flatten,
    nn.GroupNorm,
    nn.Identity,
    nn.LeakyReLU,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
    nn.Sigmoid,
    nn.SiLU,
)


def plain_sequence(structure: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """List the layers of a network that can be rewritten layer by layer.

    Args:
        structure: A network's layers.

    Returns:
        Names and layers in order; None for anything but a sequence of layers without buffers, modes or branches.
    """
    if type(structure) is not nn.Sequential or any(type(layer) not in _PLAIN for layer in structure):
        return None
    return list(structure.named_children())


def activation_layer(activation: Activation) -> nn.Module:
    """Make an activation.

    Args:
        activation: Its name; "leaky" has slope 0.01, "swish" is x·sigmoid(x).

    Returns:
        A layer without parameters.
    """
    match activation:
        case "sigmoid":
            return nn.Sigmoid()
        case "relu":
            return nn.ReLU()
        case "leaky":
            return nn.LeakyReLU(0.01)
        case "swish":
            return nn.SiLU()


def norm_layers(norm: Norm, channels: int, size: tuple[int, int] | None = None) -> list[nn.Module]:
    """Make the norm of a feature map.

    Args:
        norm: Its name. "instance" normalises each channel of each image, "group" 4 groups of channels, "layer" the
            whole map (with one weight per value), "batch" each channel over the batch.
        channels: C of the map.
        size: H, W of the map, which only "layer" needs.

    Returns:
        One affine layer, or none.
    """
    match norm:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":
            assert size is not None, "layer normalisation has one weight per value of the map"
            return [nn.LayerNorm((channels, *size))]
        case "instance":
            # Measured faster on a CPU than InstanceNorm2d, and the same function.
            return [nn.GroupNorm(channels, channels)]
        case "group":
            return [nn.GroupNorm(GROUPS, channels)]


def pooling_layers(pooling: Pooling) -> list[nn.Module]:
    """Make the 2x2 pooling, of stride 2, that halves a feature map.

    Args:
        pooling: Its name.

    Returns:
        One layer without parameters, or none.
    """
    match pooling:
        case "none":
            return []
        case "max":
            return [nn.MaxPool2d(2)]
        case "average":
            return [nn.AvgPool2d(2)]


def border(image_shape: ImageShape, *, smallest: int = 0, grow_28: bool = True) -> tuple[int, int]:
    """Give the pixels of zero border that the first convolution's padding adds on each side.

    28x28 images, of any number of channels, become 32x32 inside, the size that the published networks were made
    for. Images too small for a network of fixed depth grow to the smallest size it can take.

    Args:
        image_shape: C, H, W of the images.
        smallest: The least height and width that leave every feature map of the network with enough pixels.
        grow_28: Whether 28x28 becomes 32x32.

    Returns:
        Border at the top and bottom, and at the left and right.
    """
    _, height, width = image_shape
    if grow_28 and (height, width) == (28, 28):
        return 2, 2
    vertical, horizontal = (max(0, -(-(smallest - side) // 2)) for side in (height, width))
    return vertical, horizontal


def padded(base: int, extra: tuple[int, int]) -> tuple[int, int]:
    """Add a border to a convolution's own padding.

    Args:
        base: The padding without the border.
        extra: The border, vertical and horizontal.

    Returns:
        Padding for `nn.Conv2d`.
    """
    return base + extra[0], base + extra[1]


def num_features(layers: Iterable[nn.Module], image_shape: ImageShape) -> int:
    """Count the values of the feature map that convolutions and poolings in sequence make of an image.

    Worked out from kernels, strides and paddings: a forward pass on the meta device would import a compiler.

    Args:
        layers: Convolutions, poolings, and layers that keep the shape.
        image_shape: C, H, W of the images.

    Returns:
        C·H·W of the last feature map.
    """
    channels, *sides = image_shape
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            windows = zip(sides, *map(_pair, (layer.kernel_size, layer.stride, layer.padding)), strict=True)
            sides = [(side + 2 * padding - kernel) // stride + 1 for side, kernel, stride, padding in windows]
    return channels * prod(sides)


def _pair(size: Any) -> tuple[int, int]:
    """Spell out one number for height and width as two, as layers keep either."""
    return size if isinstance(size, tuple) else (size, size)
