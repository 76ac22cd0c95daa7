"""The part of a real batch that gets noise, for transforms that rank entries by sensitivity."""

from math import ceil

import pytest
import torch
from torch import Tensor

from datacondense import build_network
from datacondense.matching.distances import distance_named
from datacondense.matching.gradients import Objective, compared_parameters, matching_gradient
from datacondense.matching.transforms import transform_named


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 12, 15, 16, 17])
def test_an_eighth_of_the_batch_rounded_up_gets_noise(size: int) -> None:
    network = build_network("mlp", (1, 8, 8), 3)
    parameters = network.draw(torch.Generator().manual_seed(0))
    noisy: list[Tensor] = []

    def perturbed(images: Tensor, _: int) -> Tensor:
        noisy.append(images)
        return images

    objective = Objective(
        model=network,
        real_model=network,
        compared=compared_parameters(parameters),
        distance=distance_named("squared"),
        transforms=(transform_named("keep-sensitive:0.5"),),
        perturbed=perturbed,
    )
    batch = torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    synthetic = torch.zeros(1, 1, 1, 8, 8)
    matching_gradient(objective, parameters, lambda _: batch, synthetic)
    (images,) = noisy
    assert torch.equal(images, batch[: ceil(size / 8)])
