"""Stacked networks against the single ones they stand for, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from datacondense.networks.builder import build_network
from datacondense.networks.layers import num_features
from datacondense.networks.network import Network, Parameters
from datacondense.networks.stacked import bytes_of_graph, stack_network
from tests.networks.own_layers import (
    BLOCKS,
    OTHERS,
    Build,
    block,
    hooked,
    sequence,
    shared_activation,
    shared_layer,
    shared_weight,
)

SHAPE = (2, 12, 10)
R, N, K = 3, 2, 4
REFUSED = ("reflected", "circular")
STACKED: dict[str, Build] = {
    **BLOCKS,
    **{name: own for name, own in OTHERS.items() if name not in REFUSED},
    "shared activation": shared_activation,
    "strided groups": sequence(
        lambda: nn.Conv2d(2, 6, 3, stride=2, padding=(0, 2), groups=2),
        lambda: nn.GroupNorm(3, 6, eps=0.2),
        lambda: nn.LeakyReLU(0.3),
        lambda: nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        lambda: nn.Conv2d(6, 9, 2, groups=3, bias=False),
        lambda: nn.GroupNorm(9, 9, affine=False, eps=0.1),
        nn.Sigmoid,
        features=9 * 2 * 3,
    ),
}


def values(tensors: Parameters, generator: torch.Generator) -> Parameters:
    # Norms start as the identity, which would hide a mistake.
    return {k: v.double() + 0.1 * torch.randn(v.shape, generator=generator) for k, v in tensors.items()}


def second_order(logits: Tensor, parameters: list[Tensor], images: Tensor) -> list[Tensor]:
    """Differentiate by the parameters, and the squares of that by the images."""
    gradients = torch.autograd.grad(logits.square().sum(), parameters, create_graph=True)
    (pixels,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
    return [*gradients, pixels]


@pytest.mark.parametrize("own", STACKED.values(), ids=list(STACKED))
def test_stacked_equals_each_network_alone(own: Build) -> None:
    generator = torch.Generator().manual_seed(1)
    network = build_network(own, SHAPE, K)
    stacked = stack_network(network)
    assert stacked is not None
    copies = [values(network.draw(generator), generator) for _ in range(R)]
    together = {name: torch.stack([copy[name] for copy in copies]).requires_grad_() for name in copies[0]}
    images = torch.randn(R, N, *SHAPE, generator=generator, dtype=torch.float64).requires_grad_()
    logits = stacked(together, images)
    assert logits.shape == (R, N, K)
    found = second_order(logits, list(together.values()), images)
    for r, copy in enumerate(copies):
        leaves = {name: value.requires_grad_() for name, value in copy.items()}
        leaf = images[r].detach().requires_grad_()
        alone = network(leaves, leaf)
        torch.testing.assert_close(logits[r], alone, rtol=1e-10, atol=1e-12)
        for f, e in zip(found, second_order(alone, list(leaves.values()), leaf), strict=True):
            torch.testing.assert_close(f[r], e, rtol=1e-9, atol=1e-10)


def flat(*layers: Callable[[], nn.Module]) -> Build:
    return lambda image_shape, num_classes: nn.Sequential(*(make() for make in layers))


@pytest.mark.parametrize(
    "own",
    [
        *(OTHERS[name] for name in REFUSED),
        hooked,
        shared_layer,
        shared_weight,
        sequence(lambda: nn.BatchNorm2d(2), features=240),
        sequence(lambda: nn.Linear(10, 3), features=72),
        flat(lambda: nn.Flatten(2), nn.Flatten, lambda: nn.Linear(240, K)),
        flat(nn.Flatten, nn.Flatten, lambda: nn.Linear(240, K)),
        flat(nn.Flatten, lambda: nn.GroupNorm(4, 240), lambda: nn.Linear(240, K)),
    ],
)
def test_other_structures_are_not_stacked(own: Build) -> None:
    assert stack_network(build_network(own, SHAPE, K)) is None


@pytest.mark.parametrize("own", STACKED.values(), ids=list(STACKED))
def test_feature_maps_are_counted_as_torch_makes_them(own: Build) -> None:
    structure = own(SHAPE, K)
    assert isinstance(structure, nn.Sequential)
    features, sizes = torch.zeros(1, *SHAPE), []
    for end, layer in enumerate(structure):
        if isinstance(layer, nn.Linear):
            break
        features = layer(features)
        sizes.append(features.numel())
        assert num_features(list(structure)[: end + 1], SHAPE) == features.numel()
    assert bytes_of_graph(build_network(own, SHAPE, K), 1) >= 4 * sum(sizes)


def test_windows_that_begin_outside_are_not_counted() -> None:
    pooling = nn.MaxPool2d(2, stride=3, padding=1, ceil_mode=True)
    for side in range(2, 12):
        expected = pooling(torch.zeros(1, 1, side, side)).numel()
        assert num_features([pooling], (1, side, side)) == expected


def test_memory_grows_with_images_and_parameters() -> None:
    def bytes_of(network: Network, images: int) -> int:
        return bytes_of_graph(network, images)

    one = build_network(block(), SHAPE, K)
    maps = 2 * 32 * 12 * 10 + 32 * 12 * 10 + 3 * 32 * 6 * 5
    assert bytes_of(one, 5) == 4 * 6 * (5 * maps + one.num_parameters)
