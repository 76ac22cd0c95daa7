"""VGG-11 (Simonyan and Zisserman 2015) for small images."""

from torch import nn

from datacondense.networks.layers import ImageShape, border, norm_layers, num_features, padded
from datacondense.networks.names import VGGSpec

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # maps; each stage ends in a pooling
SMALLEST_SIDE = 2 ** len(STAGES)  # one pixel is left after the last pooling


def build_vgg11(spec: VGGSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a VGG-11: eight 3x3 convolutions with norm and ReLU, five 2x2 maximum poolings, one linear layer.

    Args:
        spec: The norm of every convolution.
        image_shape: C, H, W of the images; those under 32 pixels get a border up to it.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.
    """
    channels, extra = image_shape[0], border(image_shape, smallest=SMALLEST_SIDE)
    layers: list[nn.Module] = []
    for stage in STAGES:
        for maps in stage:
            convolution = nn.Conv2d(channels, maps, 3, padding=padded(1, extra))
            layers += [convolution, *norm_layers(spec.norm, maps), nn.ReLU()]
            channels, extra = maps, (0, 0)
        layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers)
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(num_features(features, image_shape), num_classes))
