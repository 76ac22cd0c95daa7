"""Distances of features: attention maps and characteristic functions, by hand."""

from cmath import exp
from math import cos, sin, sqrt

import pytest
import torch
from torch import Tensor

from datacondense.condensation.feature_distances import (
    characteristic,
    characteristic_distance,
    squared_distance,
    with_attention,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_attention_is_the_sum_over_channels_of_length_one() -> None:
    first = torch.tensor([
        [[[3.0, 0.0]], [[0.0, -4.0]]],
        [[[1.0, 1.0]], [[1.0, 1.0]]],
    ]).double()  # [2, 2, 1, 2]
    second = torch.tensor([[[[-2.0]]], [[[5.0]]]]).double()
    last, features = random(2, 3, 4, 4), torch.tensor([[7.0], [8.0]]).double()
    found = with_attention([first, second, last], features, weight=4.0)
    half = sqrt(2)
    expected = torch.tensor([[2 * 0.6, 2 * 0.8, 2, 7], [half, half, 2, 8]]).double()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    # The only map is not left out.
    torch.testing.assert_close(with_attention([first], features, weight=4.0), expected[:, [0, 1, 3]])


def test_the_weight_is_that_of_squared_distances_of_attention() -> None:
    maps, features = [random(6, 3, 2, 2), random(6, 3, 2, 2, seed=1)], random(6, 5)
    found = squared_distance(
        *(with_attention([own], features + number, 10.0).mean(0)[None] for number, own in enumerate(maps))
    )
    means = [
        torch.stack([own.abs().sum(0).flatten() / own.abs().sum(0).norm() for own in images]).mean(0)
        for images in maps
    ]
    torch.testing.assert_close(found, 10 * (means[0] - means[1]).square().sum() + 5.0)


def test_squared_distance_is_a_sum_over_classes() -> None:
    assert float(squared_distance(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[0.0, 2], [1, 1]]))) == 14


def test_characteristic_functions_are_means_of_cosines_and_sines() -> None:
    features = torch.tensor([[3.0, 4.0], [0.0, -2.0]]).double()  # (0.6, 0.8) and (0, -1)
    frequencies = torch.tensor([[1.0, 2.0], [0.5, 0.0], [-1.0, 1.0]]).double()
    phases = [(2.2, -2.0), (0.3, 0.0), (0.2, -1.0)]
    found = characteristic(features, frequencies).mean(0)
    expected = [(f(a) + f(b)) / 2 for f in (cos, sin) for a, b in phases]
    torch.testing.assert_close(found, torch.tensor(expected).double())
    for number, (a, b) in enumerate(phases):
        assert complex(*found[[number, number + 3]].tolist()) == pytest.approx(
            (exp(1j * a) + exp(1j * b)) / 2
        )


def published(real: Tensor, synthetic: Tensor) -> float:
    """Write the published term out, frequency by frequency and class by class."""
    total, half = 0.0, real.shape[1] // 2
    for r, s in zip(real.tolist(), synthetic.tolist(), strict=True):
        terms = []
        for a, b, c, d in zip(r[:half], r[half:], s[:half], s[half:], strict=True):
            first, second = sqrt(a * a + b * b), sqrt(c * c + d * d)
            terms.append(sqrt((first - second) ** 2 / 2 + (first * second - a * c - b * d)))
        total += sum(terms) / half
    return 300 * total


def test_characteristic_distance_equals_the_published_term() -> None:
    real, synthetic = random(3, 8, seed=1), random(3, 8, seed=2)
    assert float(characteristic_distance(real, synthetic)) == pytest.approx(
        published(real, synthetic), rel=1e-9
    )
    # One class, one frequency: φr = 3 + 4i, φs = 0: √(25 / 2).
    alone = characteristic_distance(torch.tensor([[3.0, 4.0]]).double(), torch.zeros(1, 2).double())
    assert float(alone) == pytest.approx(300 * sqrt(12.5))


@pytest.mark.parametrize("real", [torch.zeros(2, 6), torch.ones(2, 6)])
def test_the_slope_is_finite_everywhere(real: Tensor) -> None:
    for synthetic in (torch.zeros(2, 6), torch.ones(2, 6)):
        leaf = synthetic.double().requires_grad_()
        loss = characteristic_distance(real.double(), leaf)
        (slope,) = torch.autograd.grad(loss, leaf)
        assert bool(slope.isfinite().all())
        if torch.equal(real, synthetic):
            assert float(loss.detach()) == pytest.approx(0, abs=1e-3)
            assert not slope.any()


@pytest.mark.parametrize("kind", ["attention", "characteristic"])
def test_slopes_follow_finite_differences(kind: str) -> None:
    frequencies, goal = random(7, 4, seed=3), random(2, 14, seed=4)

    def loss(features: Tensor) -> Tensor:
        if kind == "characteristic":
            return characteristic_distance(
                goal, torch.stack([characteristic(own, frequencies).mean(0) for own in features])
            )
        maps = features[:, :, :, None, None] * torch.arange(1.0, 4).double()
        means = [with_attention([own[:, :2], own], own.flatten(1), 3.0).mean(0) for own in maps]
        return squared_distance(random(2, means[0].numel(), seed=5), torch.stack(means))

    assert torch.autograd.gradcheck(loss, random(2, 3, 4, seed=6).requires_grad_())
