import numpy as np
import pytest
import torch

from datacondense.data import normalisation
from datacondense.data.normalisation import pixel_statistics


@pytest.mark.parametrize("chunk", [1, 3, 2048])
def test_statistics_equal_numpy_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(normalisation, "CHUNK", chunk)
    images = torch.randint(
        0, 256, (7, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    scaled = images.numpy().astype(np.float64) / 255

    mean, std = pixel_statistics(images)

    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-12)


def test_floating_point_pixels_are_in_pixel_scale_already() -> None:
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1))

    mean, std = pixel_statistics(images)

    assert mean[0] == pytest.approx(images.double().mean().item())
    assert std[0] == pytest.approx(images.double().std(correction=0).item())


def test_a_constant_channel_has_a_usable_std() -> None:
    mean, std = pixel_statistics(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8))

    assert mean == pytest.approx((0.2,))
    assert std == (1e-3,)
