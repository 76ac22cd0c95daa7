"""ConvNet against the same function written out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.builder import build_network


def test_convnet_is_depth_times_convolution_norm_activation_pooling() -> None:
    network = build_network("convnet-w8-d2-swish-gn-max", (2, 12, 10), 3)
    generator = torch.Generator().manual_seed(5)
    parameters = {
        name: torch.randn(p.shape, generator=generator) for name, p in network.draw(generator).items()
    }
    images = torch.randn(4, 2, 12, 10, generator=generator)
    numbers = iter(parameters.values())
    features = images
    for _ in range(2):
        features = F.conv2d(features, next(numbers), next(numbers), padding=1)
        features = F.group_norm(features, 4, next(numbers), next(numbers))
        features = F.max_pool2d(features * features.sigmoid(), 2)
    logits = features.flatten(1) @ next(numbers).T + next(numbers)
    torch.testing.assert_close(network(parameters, images), logits)


def test_instance_normalisation_ignores_the_contrast_of_an_image() -> None:
    network = build_network("convnet-w4-d1", (1, 8, 8), 2)
    parameters = network.draw(torch.Generator())
    parameters = {name: torch.zeros_like(p) if name == "0.bias" else p for name, p in parameters.items()}
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def logits(images: Tensor) -> Tensor:
        return network(parameters, images)

    torch.testing.assert_close(logits(images), logits(5 * images), atol=1e-3, rtol=1e-3)
