"""Mean and standard deviation of pixels: exact, whatever the chunks and threads."""

from collections.abc import Callable
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from datacondense.data import normalisation
from datacondense.data.normalisation import pixel_statistics


def full(*shape: int) -> Tensor:
    """Draw 8-bit pixels."""
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def floating(*shape: int) -> Tensor:
    """Draw pixels in pixel scale that differ little, so that digits are easily lost."""
    return 0.9 + 0.01 * torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("chunk", [1, 3, 2048])
@pytest.mark.parametrize("drawn", [full, floating])
def test_statistics_equal_numpy_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, chunk: int, drawn: Callable[..., Tensor]
) -> None:
    monkeypatch.setattr(normalisation, "CHUNK", chunk)
    images = drawn(7, 3, 5, 4)
    scaled = images.numpy().astype(np.float64) / (255 if drawn is full else 1)

    mean, std = pixel_statistics(images)

    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("chunk", [7, 2048])
def test_eight_bits_are_averaged_exactly(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(normalisation, "CHUNK", chunk)
    images = full(30, 2, 150, 149)
    images[:, 1] = 255 - images[:, 1] % 2  # a small spread about a large mean
    means, variances = [], []
    for channel in range(2):
        pixels = images[:, channel].flatten().tolist()
        mean = Fraction(sum(pixels), 255 * len(pixels))
        means.append(float(mean))
        square = Fraction(sum(pixel**2 for pixel in pixels), 255**2 * len(pixels))
        variances.append(float(square - mean**2))

    assert pixel_statistics(images) == (tuple(means), tuple(map(sqrt, variances)))


@pytest.mark.parametrize("drawn", [full, floating])
def test_threads_change_no_bit(drawn: Callable[..., Tensor]) -> None:
    images = drawn(64, 1, 64, 64)  # where torch would sum in parts, one for each thread
    if drawn is floating:
        images **= torch.linspace(1, 400, 64).view(-1, 1, 1, 1)  # of many magnitudes, whose sum is rounded
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(pixel_statistics(images))
    finally:
        torch.set_num_threads(before)

    assert found[0] == found[1] == found[2]


def test_floating_point_pixels_are_in_pixel_scale_already() -> None:
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1))

    mean, std = pixel_statistics(images)

    assert mean[0] == pytest.approx(images.double().mean().item())
    assert std[0] == pytest.approx(images.double().std(correction=0).item())


def test_a_constant_channel_has_a_usable_std() -> None:
    mean, std = pixel_statistics(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8))

    assert mean == pytest.approx((0.2,))
    assert std == (1e-3,)
