"""Two AlexNets for small images: that of the condensation papers, and that of Dataset Distillation."""

from torch import nn

from datacondense.errors import InputError
from datacondense.networks.layers import ImageShape, border, norm_layers, num_features, padded
from datacondense.networks.names import AlexCifarNetSpec, AlexNetSpec, Norm


def build_alexnet(spec: AlexNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build an AlexNet: convolutions of 128, 192, 256, 192, 192 maps, three 2x2 maximum poolings, one linear layer.

    Args:
        spec: The norm of every convolution.
        image_shape: C, H, W of the images.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.
    """
    features = nn.Sequential(
        *_convolution(image_shape[0], 128, 5, spec.norm, extra=border(image_shape)),
        nn.MaxPool2d(2),
        *_convolution(128, 192, 5, spec.norm),
        nn.MaxPool2d(2),
        *_convolution(192, 256, 3, spec.norm),
        *_convolution(256, 192, 3, spec.norm),
        *_convolution(192, 192, 3, spec.norm),
        nn.MaxPool2d(2),
    )
    classifier = nn.Linear(num_features(features, image_shape), num_classes)
    return nn.Sequential(*features, nn.Flatten(), classifier)


def build_alexcifarnet(spec: AlexCifarNetSpec, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Build the AlexCifarNet of Dataset Distillation (Wang et al. 2018), for 32x32 images.

    Args:
        spec: The family, which has no settings.
        image_shape: C, H, W of the images: 32x32, or 28x28, which become 32x32 inside.
        num_classes: The number of classes K.

    Returns:
        The structure, from `[N, C, H, W]` to logits `[N, K]`.

    Raises:
        InputError: The images have another size.
    """
    channels, height, width = image_shape
    if (height, width) not in {(32, 32), (28, 28)}:
        raise InputError(
            f"alexcifarnet is made for 32x32 images (or 28x28, which it pads), not {height}x{width}: resize the "
            "images, or choose alexnet."
        )
    return nn.Sequential(
        nn.Conv2d(channels, 64, 5, padding=padded(2, border(image_shape))),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        _response_norm(),
        nn.Conv2d(64, 64, 5, padding=2),
        nn.ReLU(),
        _response_norm(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 384),
        nn.ReLU(),
        nn.Linear(384, 192),
        nn.ReLU(),
        nn.Linear(192, num_classes),
    )


def _convolution(
    channels: int, maps: int, kernel: int, norm: Norm, extra: tuple[int, int] = (0, 0)
) -> list[nn.Module]:
    """Make a convolution that keeps the image size (but for the border), its norm and ReLU."""
    convolution = nn.Conv2d(channels, maps, kernel, padding=padded(kernel // 2, extra))
    return [convolution, *norm_layers(norm, maps), nn.ReLU()]


def _response_norm() -> nn.Module:
    """Make the local response norm of AlexCifarNet."""
    return nn.LocalResponseNorm(4, alpha=0.001 / 9, beta=0.75, k=1)
