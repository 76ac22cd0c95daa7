"""The networks of the condensation papers for small images, layer by layer.

Every builder takes the spec of its family, the image shape C, H, W and the number of classes K, and returns the
structure from images `[N, C, H, W]` to logits `[N, K]`. Images of 28x28 pixels become 32x32 inside, the size that the
published networks are made for, and images too small for a network of fixed depth get a border up to the smallest size
it takes; see `border`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.networks.layers import (
    ACTIVATIONS,
    POOLINGS,
    ImageShape,
    border,
    bordered,
    norm_layers,
    padded,
)
from datacondense.networks.names import (
    AlexCifarNetSpec,
    AlexNetSpec,
    ConvNetSpec,
    LeNetSpec,
    MLPSpec,
    Norm,
    ResNetSpec,
    VGGSpec,
    canonical_name,
)

_MLP_WIDTH = 128
_LENET_SIDE = 16  # (16 - 4) / 2 = 6, (6 - 4) / 2 = 1 pixel left
_VGG_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # maps; each stage ends in a pooling
_RESNET_STAGES = (64, 128, 256, 512)  # maps; two blocks each, and all but the first halve height and width
_RESNET_SIDE = 16  # 2x2 values in the last stage: over a single one, instance normalisation is constant


def _convnet(spec: ConvNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a ConvNet (Gidaris and Komodakis 2018): blocks of 3x3 convolution, norm, activation and pooling."""
    channels, extra = image_shape[0], border(image_shape)
    height, width = bordered(image_shape, extra)
    if spec.pooling != "none":
        _check_depth(spec, (height, width), image_shape)
    layers: list[nn.Module] = []
    for block in range(spec.depth):
        layers += [
            nn.Conv2d(channels, spec.width, 3, padding=padded(1, extra if block == 0 else (0, 0))),
            *norm_layers(spec.norm, spec.width, (height, width)),
            ACTIVATIONS[spec.activation](),
        ]
        channels = spec.width
        if spec.pooling != "none":
            layers.append(POOLINGS[spec.pooling](2))
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, num_classes))


def _check_depth(spec: ConvNetSpec, inner_size: tuple[int, int], image_shape: ImageShape) -> None:
    """Check that a pixel is left after the last pooling."""
    halvings = min(inner_size).bit_length() - 1
    if spec.depth > halvings:
        _, height, width = image_shape
        raise InputError(
            f"{canonical_name(spec)} pools {spec.depth} times, but images of {height}x{width} can be halved "
            f"{halvings} times only: use -d{halvings} or fewer, larger images, or -nopool."
        )


def _mlp(spec: MLPSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build an MLP of two hidden layers, for images of any size."""
    return nn.Sequential(
        nn.Flatten(), *_linear_layers(prod(image_shape), _MLP_WIDTH, _MLP_WIDTH, num_classes)
    )


def _lenet(spec: LeNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a LeNet-5 (LeCun et al. 1998) with today's ReLU and maximum pooling."""
    extra = border(image_shape, smallest=_LENET_SIDE)
    last_size = [((side - 4) // 2 - 4) // 2 for side in bordered(image_shape, extra)]
    return nn.Sequential(
        nn.Conv2d(image_shape[0], 6, 5, padding=padded(0, extra)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *_linear_layers(16 * prod(last_size), 120, 84, num_classes),
    )


def _alexnet(spec: AlexNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build the AlexNet of the condensation papers: five convolutions, three poolings, one linear layer."""
    extra = border(image_shape)
    last_size = [side // 8 for side in bordered(image_shape, extra)]
    return nn.Sequential(
        *_block(image_shape[0], 128, 5, spec.norm, extra),
        nn.MaxPool2d(2),
        *_block(128, 192, 5, spec.norm),
        nn.MaxPool2d(2),
        *_block(192, 256, 3, spec.norm),
        *_block(256, 192, 3, spec.norm),
        *_block(192, 192, 3, spec.norm),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(192 * prod(last_size), num_classes),
    )


def _alexcifarnet(spec: AlexCifarNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build the AlexCifarNet of Dataset Distillation (Wang et al. 2018)."""
    channels, height, width = image_shape
    if (height, width) not in {(32, 32), (28, 28)}:
        raise InputError(
            f"alexcifarnet takes 32x32 images (or 28x28, which it pads), not {height}x{width}: resize the images, or "
            "choose alexnet."
        )
    response_norm = partial(nn.LocalResponseNorm, 4, alpha=0.001 / 9, beta=0.75, k=1)
    return nn.Sequential(
        nn.Conv2d(channels, 64, 5, padding=padded(2, border(image_shape))),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        response_norm(),
        nn.Conv2d(64, 64, 5, padding=2),
        nn.ReLU(),
        response_norm(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Flatten(),
        *_linear_layers(64 * 8 * 8, 384, 192, num_classes),
    )


def _vgg11(spec: VGGSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a VGG-11 (Simonyan and Zisserman 2015): eight 3x3 convolutions, five poolings, one linear layer."""
    channels, extra = image_shape[0], border(image_shape, smallest=2 ** len(_VGG_STAGES))
    last_size = [side // 2 ** len(_VGG_STAGES) for side in bordered(image_shape, extra)]
    layers: list[nn.Module] = []
    for stage in _VGG_STAGES:
        for maps in stage:
            layers += _block(channels, maps, 3, spec.norm, extra)
            channels, extra = maps, (0, 0)
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(last_size), num_classes))


def _resnet18(spec: ResNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a ResNet-18 (He et al. 2016) with a 3x3 stem without pooling; images of 28x28 stay as they are."""
    channels, *widths = _RESNET_STAGES[0], *_RESNET_STAGES
    extra = border(image_shape, smallest=_RESNET_SIDE, grow_28=False)
    stem = nn.Conv2d(image_shape[0], channels, 3, padding=padded(1, extra), bias=False)
    layers: list[nn.Module] = [stem, *norm_layers(spec.norm, channels), nn.ReLU()]
    for stage, maps in enumerate(widths):
        layers += [
            BasicBlock(channels, maps, spec, halve=stage > 0),
            BasicBlock(maps, maps, spec, halve=False),
        ]
        channels = maps
    # The linear layer sees the mean of the last map, or all of it (512x4x4 for 32x32 images).
    if spec.downsampling == "stride":
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    last_size = [side // 8 for side in bordered(image_shape, extra)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(last_size), num_classes))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions added to a shortcut.

    Attributes:
        first: Convolution, norm, ReLU and, where the block pools, 2x2 average pooling.
        second: Convolution and norm.
        shortcut: The identity, or a 1x1 convolution with norm where the shape changes.
    """

    def __init__(self, channels: int, maps: int, spec: ResNetSpec, *, halve: bool) -> None:
        super().__init__()
        stride = 2 if halve and spec.downsampling == "stride" else 1
        pooling = [nn.AvgPool2d(2)] if halve and spec.downsampling == "average" else []

        def norm() -> list[nn.Module]:
            return norm_layers(spec.norm, maps)

        # Without a bias, which the norm would cancel.
        first = nn.Conv2d(channels, maps, 3, stride, padding=1, bias=False)
        self.first = nn.Sequential(first, *norm(), nn.ReLU(), *pooling)
        self.second = nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1, bias=False), *norm())
        self.shortcut = nn.Sequential()
        if halve or channels != maps:
            shortcut = nn.Conv2d(channels, maps, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, *pooling, *norm())

    def forward(self, features: Tensor) -> Tensor:
        """Compute the next map `[N, C, H, W]`, of half the height and width where the block halves."""
        return F.relu(self.second(self.first(features)) + self.shortcut(features))


def _block(
    channels: int, maps: int, kernel: int, norm: Norm, extra: tuple[int, int] = (0, 0)
) -> list[nn.Module]:
    """Build a convolution that keeps the image size (but for the border), its norm and ReLU."""
    convolution = nn.Conv2d(channels, maps, kernel, padding=padded(kernel // 2, extra))
    return [convolution, *norm_layers(norm, maps), nn.ReLU()]


def _linear_layers(*sizes: int) -> list[nn.Module]:
    """Build linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


BUILDERS: Mapping[type[Any], Callable[[Any, ImageShape, int], nn.Module]] = {
    ConvNetSpec: _convnet,
    MLPSpec: _mlp,
    LeNetSpec: _lenet,
    AlexNetSpec: _alexnet,
    AlexCifarNetSpec: _alexcifarnet,
    VGGSpec: _vgg11,
    ResNetSpec: _resnet18,
}
