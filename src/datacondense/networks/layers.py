"""The layers that networks share: norms, activations, poolings, and the padding of the first convolution.

No layer changes its input in place, so every network can be differentiated twice.
"""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from datacondense.networks.names import GROUPS, Activation, Norm, Pooling

ImageShape = tuple[int, int, int]  # C, H, W

ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "leaky": partial(nn.LeakyReLU, 0.01),
    "swish": nn.SiLU,
}
POOLINGS: Mapping[Pooling, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}

# Layers that depend on nothing but parameters and input.
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
    """Return names and layers of a network that can be rewritten layer by layer; None for any other.

    Such a network is a sequence of layers without buffers, modes, branches, hooks or shared parameters.
    """
    if type(structure) is not nn.Sequential or any(type(layer) not in _PLAIN for layer in structure):
        return None
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in structure.modules())
    shared = len(list(structure.named_parameters(remove_duplicate=False))) > len(list(structure.parameters()))
    # Not `named_children`, which lists an activation that is used several times once.
    return None if hooked or shared else list(structure._modules.items())


def norm_layers(norm: Norm, channels: int, size: tuple[int, int] | None = None) -> list[nn.Module]:
    """Return the norm of a feature map of C channels: one affine layer, or none.

    "instance" normalises each channel of each image, "group" 4 groups of channels, "layer" all of the map (with one
    weight per value, which needs its height and width), "batch" each channel over the batch.
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


def border(image_shape: ImageShape, *, smallest: int = 0, grow_28: bool = True) -> tuple[int, int]:
    """Return the pixels of zero border that the first convolution's padding adds, vertical and horizontal.

    28x28 images, of any number of channels, become 32x32 inside, the size that the published networks are made for.
    Images too small for a network of fixed depth grow to the smallest side that leaves every feature map with enough
    pixels.
    """
    _, height, width = image_shape
    if grow_28 and (height, width) == (28, 28):
        return 2, 2
    vertical, horizontal = (max(0, -(-(smallest - side) // 2)) for side in (height, width))
    return vertical, horizontal


def padded(base: int, extra: tuple[int, int]) -> tuple[int, int]:
    """Add a border to a convolution's own padding."""
    return base + extra[0], base + extra[1]


def bordered(image_shape: ImageShape, extra: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of images with their border."""
    _, height, width = image_shape
    return height + 2 * extra[0], width + 2 * extra[1]
