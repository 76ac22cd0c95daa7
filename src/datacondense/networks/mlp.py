"""MLP: two hidden layers, the smallest of the published networks."""

from math import prod

from torch import nn

from datacondense.networks.layers import ImageShape
from datacondense.networks.names import MLPSpec

HIDDEN = 128


def build_mlp(spec: MLPSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build an MLP: flatten, 128, 128, classes, with ReLU between.

    Args:
        spec: The family, which has no settings.
        image_shape: C, H, W of the images, of any size.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(image_shape), HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, num_classes),
    )
