"""The AlexNets against the same functions written out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.builder import build_network
from datacondense.networks.network import Parameters


def _numbers(name: str, shape: tuple[int, int, int]) -> Parameters:
    """Draw parameters in float64."""
    drawn = build_network(name, shape, 4).draw(torch.Generator().manual_seed(2))
    return {key: value.double() for key, value in drawn.items()}


def _images(*shape: int) -> Tensor:
    """Draw two images in float64."""
    return torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_alexnet_with_instance_normalisation() -> None:
    parameters, images = _numbers("alexnet-in", (1, 8, 8)), _images(1, 8, 8)
    numbers = iter(parameters.values())
    features = images
    for kernel, pools in ((5, True), (5, True), (3, False), (3, False), (3, True)):
        features = F.conv2d(features, next(numbers), next(numbers), padding=kernel // 2)
        assert next(numbers).shape == next(numbers).shape == features.shape[1:2]  # weight 1, bias 0
        features = F.instance_norm(features).relu()
        features = F.max_pool2d(features, 2) if pools else features
    logits = F.linear(features.flatten(1), next(numbers), next(numbers))
    torch.testing.assert_close(build_network("alexnet-in", (1, 8, 8), 4)(parameters, images), logits)


def test_alexcifarnet() -> None:
    shape = (3, 32, 32)
    parameters, images = _numbers("alexcifarnet", shape), _images(*shape)
    numbers = iter(parameters.values())
    features = F.conv2d(images, next(numbers), next(numbers), padding=2).relu()
    features = F.local_response_norm(F.max_pool2d(features, 3, 2, 1), 4, 0.001 / 9, 0.75, 1.0)
    features = F.conv2d(features, next(numbers), next(numbers), padding=2).relu()
    features = F.max_pool2d(F.local_response_norm(features, 4, 0.001 / 9, 0.75, 1.0), 3, 2, 1).flatten(1)
    assert features.shape == (2, 4096)
    for _ in range(2):
        features = F.linear(features, next(numbers), next(numbers)).relu()
    logits = F.linear(features, next(numbers), next(numbers))
    assert [tuple(p.shape) for p in list(parameters.values())[-6::2]] == [(384, 4096), (192, 384), (4, 192)]
    torch.testing.assert_close(build_network("alexcifarnet", shape, 4)(parameters, images), logits)
