"""Sequences of layers with settings that the networks of this library do not use."""

from collections.abc import Callable

from torch import nn

Build = Callable[[tuple[int, int, int], int], nn.Module]


def sequence(*layers: Callable[[], nn.Module], features: int) -> Build:
    """Return a network of a user's own: layers for 2 channels of 12x10 pixels, then a linear one."""

    def own(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        assert image_shape == (2, 12, 10)
        return nn.Sequential(*(make() for make in layers), nn.Flatten(), nn.Linear(features, num_classes))

    return own


def block(
    convolution: Callable[[], nn.Module] = lambda: nn.Conv2d(2, 32, 3, padding=1),
    norm: Callable[[], nn.Module] = lambda: nn.GroupNorm(32, 32),
    pooling: Callable[[], nn.Module] = lambda: nn.AvgPool2d(2),
    features: int = 32 * 6 * 5,
) -> Build:
    """Return convolution, norm, ReLU and pooling, one of which may be special."""
    return sequence(convolution, norm, nn.ReLU, pooling, features=features)


BLOCKS: dict[str, Build] = {
    "stride": block(lambda: nn.Conv2d(2, 32, 3, padding=1, stride=(2, 1)), features=32 * 3 * 5),
    "groups": block(lambda: nn.Conv2d(2, 32, 3, padding=1, groups=2)),
    "dilation": block(lambda: nn.Conv2d(2, 32, 3, padding=2, dilation=2)),
    "uneven padding": block(lambda: nn.Conv2d(2, 32, 3, padding=(3, 0)), features=32 * 8 * 4),
    "same padding": block(lambda: nn.Conv2d(2, 32, 5, padding="same", bias=False)),
    "large eps": block(norm=lambda: nn.GroupNorm(32, 32, eps=0.3)),
}
"""What the fused layers take."""

OTHERS: dict[str, Build] = {
    "reflected": block(lambda: nn.Conv2d(2, 32, 3, padding=1, padding_mode="reflect")),
    "circular": block(lambda: nn.Conv2d(2, 32, 3, padding=1, padding_mode="circular")),
    "norm without parameters": block(norm=lambda: nn.GroupNorm(32, 32, affine=False)),
    "groups of two": block(norm=lambda: nn.GroupNorm(16, 32, eps=0.1)),
    "ceiling": block(
        lambda: nn.Conv2d(2, 32, 4), pooling=lambda: nn.AvgPool2d(2, ceil_mode=True), features=32 * 5 * 4
    ),
    "padded pooling": block(
        pooling=lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False), features=32 * 7 * 6
    ),
    "divisor": block(pooling=lambda: nn.AvgPool2d(2, divisor_override=3)),
    "large pooling": block(pooling=lambda: nn.AvgPool2d(3), features=32 * 4 * 3),
    "overlapping": block(pooling=lambda: nn.AvgPool2d(2, stride=1), features=32 * 11 * 9),
}
"""What they must leave to torch."""


def shared_activation(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Return a network that uses one activation three times."""
    relu = nn.ReLU()
    blocks = [nn.Conv2d(2, 32, 3, padding=1), nn.GroupNorm(32, 32), relu, nn.AvgPool2d(2)]
    second = [nn.Conv2d(32, 8, 3, padding=1), relu]
    return nn.Sequential(*blocks, *second, nn.Flatten(), nn.Linear(240, 20), relu, nn.Linear(20, num_classes))


def shared_layer(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Return a network that uses one convolution twice."""
    convolution = nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), convolution, nn.Flatten(), nn.Linear(240, num_classes))


def shared_weight(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Return a network of two convolutions with one weight."""
    first, second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
    second.weight = first.weight
    return nn.Sequential(first, second, nn.Flatten(), nn.Linear(240, num_classes))


def hooked(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Return a network with a hook that doubles a feature map."""
    network = block()(image_shape, num_classes)
    network.get_submodule("0").register_forward_hook(lambda layer, inputs, output: 2 * output)
    return network
