"""LeNet-5 (LeCun et al. 1998) with today's ReLU and maximum pooling."""

from torch import nn

from datacondense.networks.layers import ImageShape, border, num_features, padded
from datacondense.networks.names import LeNetSpec

SMALLEST_SIDE = 16  # (16 - 4) / 2 = 6, (6 - 4) / 2 = 1 pixel left


def build_lenet(spec: LeNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build a LeNet: 6 and 16 maps of 5x5, each with ReLU and 2x2 maximum pooling, then 120, 84, classes.

    Args:
        spec: The family, which has no settings.
        image_shape: C, H, W of the images; those under 16 pixels get a border up to it.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.
    """
    features = nn.Sequential(
        nn.Conv2d(image_shape[0], 6, 5, padding=padded(0, border(image_shape, smallest=SMALLEST_SIDE))),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    return nn.Sequential(
        *features,
        nn.Flatten(),
        nn.Linear(num_features(features, image_shape), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )
