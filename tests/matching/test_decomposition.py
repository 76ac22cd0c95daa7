"""The decomposition of pixel gradients: by hand, against explicit loops, and on data with planted parts."""

from collections.abc import Callable
from itertools import product
from math import isfinite
from statistics import fmean
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching.decomposition import Component, Decomposition, _interval, decompose

Scale: TypeAlias = Callable[..., Tensor]

NAMES = ("data", "network", "batch", "interaction")


def parts(found: Decomposition) -> list[Component]:
    return [getattr(found, name) for name in NAMES]


def lengths(gradients: Tensor) -> list[float]:
    return [part.squared_length for part in parts(decompose(gradients))]


def by_loops(y: Tensor) -> list[float]:
    """Estimate as a textbook does: mean squares of networks, batches and residuals, pixel by pixel."""
    R, D, P = y.shape
    total = [0.0] * 4
    for p in range(P):
        grand = float(sum(y[r, d, p] for r, d in product(range(R), range(D)))) / (R * D)
        of_network = [float(sum(y[r, d, p] for d in range(D))) / D for r in range(R)]
        of_batch = [float(sum(y[r, d, p] for r in range(R))) / R for d in range(D)]
        ms_a = D * sum((mean - grand) ** 2 for mean in of_network) / (R - 1)
        ms_b = R * sum((mean - grand) ** 2 for mean in of_batch) / (D - 1)
        residuals = (
            float(y[r, d, p]) - of_network[r] - of_batch[d] + grand for r, d in product(range(R), range(D))
        )
        ms_e = sum(residual**2 for residual in residuals) / ((R - 1) * (D - 1))
        found = (
            grand**2 - (ms_a + ms_b - ms_e) / (R * D),
            (ms_a - ms_e) / D,
            (ms_b - ms_e) / R,
            ms_e,
        )
        total = [sum(pair) for pair in zip(total, found, strict=True)]
    return total


def gaussian(*shape: int, generator: torch.Generator) -> Tensor:
    """Return lengths that do not vary beyond what Gaussian vectors do."""
    return torch.ones(shape, dtype=torch.float64)


def heavy(*shape: int, generator: torch.Generator) -> Tensor:
    """Return lengths that make Gaussian vectors follow Student's t with 5 degrees of freedom, of unit variance."""
    squares = torch.randn((5, *shape), dtype=torch.float64, generator=generator).square()
    scale: Tensor = (3 / squares.sum(dim=0)).sqrt()
    return scale


def planted(
    shares: tuple[float, ...],
    R: int,
    D: int,
    generator: torch.Generator,
    scale: Scale = gaussian,
    P: int = 24,
) -> Tensor:
    """Build gradients `[R, D, P]` whose expected squared length is 1, in given parts, with correlated pixels."""
    spread = torch.exp(-0.2 * torch.arange(P, dtype=torch.float64))
    spread = (spread / spread.sum()).sqrt()
    mix, _ = torch.linalg.qr(torch.randn(P, P, dtype=torch.float64, generator=generator))

    def effect(share: float, *shape: int) -> Tensor:
        vectors = torch.randn((*shape, P), dtype=torch.float64, generator=generator) * spread
        scaled: Tensor = share**0.5 * vectors * scale(*shape, 1, generator=generator)
        return scaled

    data = shares[0] ** 0.5 * spread
    y = data + effect(shares[1], R, 1) + effect(shares[2], 1, D) + effect(shares[3], R, D)
    mixed: Tensor = y @ mix
    return mixed


def test_by_hand() -> None:
    # Means of networks 2 and 6, of batches 3 and 5, of all 4; MS_A = 16, MS_B = 4, MS_E = 0.
    y = torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]])
    assert lengths(y) == pytest.approx([16 - 20 / 4, 8, 2, 0])
    found = decompose(y)
    assert [part.share for part in parts(found)] == pytest.approx([11 / 21, 8 / 21, 2 / 21, 0])
    assert [part.interval for part in parts(found)] == [None] * 4


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 3, 2), (5, 4, 3)])
def test_equals_explicit_loops(shape: tuple[int, int, int]) -> None:
    y = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert lengths(y) == pytest.approx(by_loops(y), abs=1e-12)


def test_parts_add_up_to_the_mean_squared_length() -> None:
    y = torch.randn(4, 3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    assert sum(lengths(y)) == pytest.approx(float(y.flatten(2).square().sum(dim=2).mean()))
    assert sum(part.share for part in parts(decompose(y))) == pytest.approx(1)


def test_many_pixels_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    y = torch.randn(3, 4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    full = lengths(y)
    monkeypatch.setattr("datacondense.matching.decomposition._PIXELS_AT_ONCE", 7)
    assert lengths(y) == pytest.approx(full)


def test_decomposition_is_symmetric_in_networks_and_batches() -> None:
    y = torch.randn(4, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found, turned = decompose(y), decompose(y.transpose(0, 1))
    assert turned.network.share == pytest.approx(found.batch.share)
    assert turned.batch.interval == pytest.approx(found.network.interval)
    assert turned.data.interval == pytest.approx(found.data.interval)


@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_shares_and_intervals_know_no_units(factor: float) -> None:
    y = planted((0.2, 0.5, 0.1, 0.2), 5, 4, torch.Generator().manual_seed(4))
    found, scaled = decompose(y), decompose(factor * y)
    for part, other in zip(parts(found), parts(scaled), strict=True):
        assert other.squared_length == pytest.approx(factor**2 * part.squared_length)
        assert other.share == pytest.approx(part.share)
        assert other.interval == pytest.approx(part.interval)


def test_estimates_have_no_bias_and_may_be_negative() -> None:
    shares, generator = (0.0, 0.7, 0.0, 0.3), torch.Generator().manual_seed(5)
    found = torch.tensor([lengths(planted(shares, 4, 3, generator)) for _ in range(400)])
    errors = found.std(dim=0) / len(found) ** 0.5
    assert torch.all((found.mean(dim=0) - torch.tensor(shares)).abs() < 3 * errors)
    assert bool((found[:, 0] < 0).any())
    assert bool((found[:, 2] < 0).any())


@pytest.mark.parametrize("scale", [gaussian, heavy])
@pytest.mark.parametrize("shares", [(0.1, 0.6, 0.1, 0.2), (0.4, 0.05, 0.05, 0.5)])
@pytest.mark.parametrize("size", [(8, 4), (12, 8)])
def test_intervals_hold_the_planted_shares(
    size: tuple[int, int], shares: tuple[float, ...], scale: Scale
) -> None:
    trials, generator = 60, torch.Generator().manual_seed(6)
    held = [0] * 4
    for _ in range(trials):
        found = parts(decompose(planted(shares, *size, generator, scale)))
        for index, (part, share) in enumerate(zip(found, shares, strict=True)):
            assert part.interval is not None
            low, high = part.interval
            assert low <= part.share <= high
            held[index] += low <= share <= high
    assert min(held) >= 0.9 * trials, dict(zip(NAMES, held, strict=True))


def test_intervals_are_no_wider_than_they_must_be() -> None:
    shares, generator = (0.3, 0.4, 0.1, 0.2), torch.Generator().manual_seed(7)
    found = [parts(decompose(planted(shares, 16, 8, generator))) for _ in range(60)]
    spread = torch.tensor([[part.share for part in one] for one in found]).std(dim=0)
    ends = torch.tensor([[part.interval or (0.0, 0.0) for part in one] for one in found])
    assert torch.all((ends[..., 1] - ends[..., 0]).median(dim=0).values < 2 * 4 * spread)


def test_more_networks_and_batches_narrow_the_intervals() -> None:
    y = planted((0.3, 0.4, 0.1, 0.2), 24, 24, torch.Generator().manual_seed(8))

    def width(size: int) -> float:
        interval = decompose(y[:size, :size]).network.interval
        assert interval is not None
        return interval[1] - interval[0]

    assert width(24) < width(12) < width(4)


def test_one_network_alone_that_asks_for_anything() -> None:
    y = torch.zeros(3, 3, 2)
    y[1] = 1
    found = decompose(y)
    assert found.network.share == pytest.approx(1)
    assert found.network.interval is not None
    assert all(isfinite(end) for end in found.network.interval)


@pytest.mark.parametrize(
    ("share", "half", "expected"),
    [
        (0.5, 0.1, (0.4, 0.6)),
        # The odds are 1 to 9; e to the power of 0.045 / 0.09 is 1.6487, to the power of 2 it is 7.3891.
        (0.1, 0.045, (0.055, 1.64872 / (1.64872 + 9))),
        (0.1, 0.3, (-0.2, 7.38906 / (7.38906 + 9))),
        (0.9, 0.045, (9 / (9 + 1.64872), 0.945)),
        (0.1, 0.8, (-0.7, 0.9)),
        (-0.1, 0.05, (-0.15, -0.05)),
        (1.2, 0.1, (1.1, 1.3)),
        (0.0, 0.2, (-0.2, 0.2)),
    ],
)
def test_intervals_reach_as_far_as_odds_do(share: float, half: float, expected: tuple[float, float]) -> None:
    assert _interval(share, half) == pytest.approx(expected, abs=1e-5)


def test_errors_are_those_of_leaving_one_out() -> None:
    y = planted((0.3, 0.4, 0.1, 0.2), 5, 4, torch.Generator().manual_seed(9))
    axes = {0: range(5), 1: range(4)}
    variance = 0.0
    for axis, indices in axes.items():
        left = [
            decompose(y.index_select(axis, torch.tensor([i for i in indices if i != out]))).data.share
            for out in indices
        ]
        variance += (len(left) - 1) / len(left) * sum((share - fmean(left)) ** 2 for share in left)
    found = decompose(y).data
    assert found.interval == pytest.approx(_interval(found.share, 3.182446 * variance**0.5), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 2), (4, 1, 2)])
def test_two_of_each_are_needed(shape: tuple[int, ...]) -> None:
    networks, batches, _ = shape
    with pytest.raises(
        InputError,
        match=f"of {networks} networks and {batches} batches, but a decomposition needs at least 2 of each",
    ):
        decompose(torch.ones(shape))


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "is 0.0"), (float("nan"), "is nan"), (float("inf"), "is nan|is inf")]
)
def test_zero_and_infinite_gradients_are_refused(value: float, said: str) -> None:
    with pytest.raises(
        InputError, match=f"The mean squared length of the gradients ({said}), but must be above 0"
    ):
        decompose(torch.full((3, 3, 2), value))
