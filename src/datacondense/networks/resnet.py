"""ResNet-18 (He et al. 2016) for small images, and the variant without strided convolutions."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.networks.layers import ImageShape, border, norm_layers, padded
from datacondense.networks.names import ResNetSpec

STAGES = (64, 128, 256, 512)  # maps of each stage of two blocks; all but the first halve height and width
SMALLEST_SIDE = 16  # 2x2 values in the last stage: over a single one, instance normalisation is constant


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
        pooling = halve and spec.downsampling == "average"
        convolution = _convolution(channels, maps, 3, stride)
        self.first = nn.Sequential(convolution, *norm_layers(spec.norm, maps), nn.ReLU(), *_pool(pooling))
        self.second = nn.Sequential(_convolution(maps, maps, 3, 1), *norm_layers(spec.norm, maps))
        self.shortcut = nn.Sequential()
        if halve or channels != maps:
            convolution = _convolution(channels, maps, 1, stride)
            self.shortcut = nn.Sequential(convolution, *_pool(pooling), *norm_layers(spec.norm, maps))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the block.

        Args:
            features: The feature map `[N, C, H, W]`.

        Returns:
            The next map, of half the height and width where the block halves.
        """
        return F.relu(self.second(self.first(features)) + self.shortcut(features))


def build_resnet18(spec: ResNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a ResNet-18: a 3x3 stem without pooling, four stages of two blocks, one linear layer.

    With strided convolutions the linear layer sees the mean of the last map; with average pooling, the whole
    map (512x4x4 for 32x32 images).

    Args:
        spec: The norm, and how stages halve the map.
        image_shape: C, H, W of the images; those under 16 pixels get a border up to it, 28x28 stay as they are.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.
    """
    stem, *widths = STAGES[0], *STAGES
    extra = border(image_shape, smallest=SMALLEST_SIDE, grow_28=False)
    convolution = nn.Conv2d(image_shape[0], stem, 3, padding=padded(1, extra), bias=False)
    layers: list[nn.Module] = [convolution, *norm_layers(spec.norm, stem), nn.ReLU()]
    channels = stem
    for stage, maps in enumerate(widths):
        layers += [
            BasicBlock(channels, maps, spec, halve=stage > 0),
            BasicBlock(maps, maps, spec, halve=False),
        ]
        channels = maps
    if spec.downsampling == "stride":
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    last_size = [(side + 2 * pixels) // 8 for side, pixels in zip(image_shape[1:], extra, strict=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(last_size), num_classes))


def _convolution(channels: int, maps: int, kernel: int, stride: int) -> nn.Module:
    """Make a convolution without bias, which the norm after it would cancel."""
    return nn.Conv2d(channels, maps, kernel, stride, padding=kernel // 2, bias=False)


def _pool(pooling: bool) -> list[nn.Module]:
    """Make the average pooling that stands for a stride."""
    return [nn.AvgPool2d(2)] if pooling else []
