"""The filter of pixel gradients, against the same sums written out."""

import pytest
import torch

from datacondense.matching.pixel_filter import shrink_pixels


def by_hand(values: list[float]) -> float:
    """Shrink the last of some gradients of one pixel, with explicit weights."""
    weights = [0.9 ** (len(values) - 1 - index) for index in range(len(values))]
    total = sum(weights)
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    variance = sum(w * (x - mean) ** 2 for w, x in zip(weights, values, strict=True)) / total
    worth = min(len(values), 19)
    return values[-1] * mean**2 / (mean**2 + variance / worth)


@pytest.mark.parametrize("steps", [2, 3, 25])
def test_it_is_the_formula(steps: int) -> None:
    gradients = torch.randn(
        steps, 2, 1, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    moments, found = None, torch.zeros(())
    for number, gradient in enumerate(gradients, start=1):
        found, moments = shrink_pixels(gradient, moments, number)
    for pixel, value in zip(gradients.flatten(1).T.tolist(), found.flatten().tolist(), strict=True):
        assert value == pytest.approx(by_hand(pixel), rel=1e-9)


def test_the_first_step_is_left_alone_and_agreement_too() -> None:
    gradient = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    found, moments = shrink_pixels(gradient, None, 1)
    assert torch.equal(found, gradient)
    again, _ = shrink_pixels(gradient, moments, 2)
    assert torch.allclose(again, gradient)


def test_contradiction_goes() -> None:
    moments, found = None, torch.zeros(1)
    for number in range(1, 200):
        found, moments = shrink_pixels(torch.tensor([1.0 if number % 2 else -1.0]).double(), moments, number)
    assert abs(float(found)) < 0.1
