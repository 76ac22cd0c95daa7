"""Gradient transforms against examples worked out by hand, and the entries that masks keep."""

from decimal import Decimal
from math import ceil

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.matching.pooling import pool_kernels
from datacondense.matching.transforms import MASKS, RealGradients, largest, transform_named
from tests.matching.made_gradients import POOLINGS, VALUES, apply, gradients, numbers, real_side


def applied(name: str, *tensors: Tensor) -> list[Tensor]:
    """Apply a transform that looks at the mean alone to the real side."""
    return list(apply([name], RealGradients(tensors), tensors).real.mean)


KERNEL = numbers(1, -5, 2, 4, 0, -3, -9, 6, 7).view(1, 1, 3, 3)


@pytest.mark.parametrize(
    ("pooling", "one", "four"),
    [
        # The windows of 2x2: (1 -5 / 4 0), (-5 2 / 0 -3), (4 0 / -9 6), (0 -3 / 6 7).
        ("max", 7, [4, 2, 6, 7]),
        ("mean", 3 / 9, [0, -6 / 4, 1 / 4, 10 / 4]),
        ("abs-max", -9, [-5, -5, -9, 7]),
    ],
)
def test_poolings_of_a_kernel_by_hand(pooling: str, one: float, four: list[float]) -> None:
    torch.testing.assert_close(applied(f"{pooling}-pool-1", KERNEL), [numbers(one).view(1, 1, 1, 1)])
    torch.testing.assert_close(applied(f"{pooling}-pool-2", KERNEL), [numbers(*four).view(1, 1, 2, 2)])


def test_abs_max_keeps_the_sign_of_the_first_of_opposite_entries() -> None:
    assert applied("abs-max-pool-1", numbers(1, -2, 2, 0).view(1, 1, 2, 2))[0].item() == -2
    assert applied("abs-max-pool-1", numbers(1, 2, -2, 0).view(1, 1, 2, 2))[0].item() == 2


def test_every_kernel_has_its_own_representative() -> None:
    kernels = torch.stack([KERNEL[0, 0], -KERNEL[0, 0], 2 * KERNEL[0, 0], 0 * KERNEL[0, 0]]).view(2, 2, 3, 3)
    assert applied("max-pool-1", kernels)[0].flatten().tolist() == [7, 9, 14, 0]


@pytest.mark.parametrize("name", POOLINGS)
def test_linear_layers_and_vectors_pass_poolings_unchanged(name: str) -> None:
    linear, vector, point = torch.randn(3, 4), torch.randn(5), torch.randn(2, 3, 1, 1)
    for found, given in zip(applied(name, linear, vector, point), (linear, vector, point), strict=True):
        assert torch.equal(found, given)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (5, 5), (3, 5), (4, 7), (2, 2)])
@pytest.mark.parametrize("size", [1, 2])
def test_windows_are_those_of_adaptive_pooling(height: int, width: int, size: int) -> None:
    (gradient,) = gradients("normal", 1, [(3, 2, height, width)])
    pairs = [("max", F.adaptive_max_pool2d(gradient, size)), ("mean", F.adaptive_avg_pool2d(gradient, size))]
    for pooling, expected in pairs:
        torch.testing.assert_close(pool_kernels([gradient], pooling=pooling, size=size), [expected])


def test_the_sides_are_pooled_apart() -> None:
    real, synthetic = numbers(1, 2, 3, 4).view(1, 1, 2, 2), numbers(9, 0, 0, -1).view(1, 1, 2, 2)
    pair = apply(["max-pool-1"], RealGradients([real]), [synthetic])
    assert (pair.real.mean[0].item(), pair.synthetic[0].item()) == (4, 9)


def test_mask_is_selected_on_the_real_side_and_applied_to_both() -> None:
    real, synthetic = [numbers(3, -4, 1, 0), numbers(0.1, 0.2)], [numbers(1, 2, 3, 4), numbers(5, 6)]
    pair = apply(["keep-magnitude:0.5"], RealGradients(real), synthetic)
    assert [g.tolist() for g in pair.real.mean] == [[3, -4, 0, 0], [0, 0.2]]
    assert [g.tolist() for g in pair.synthetic] == [[1, 2, 0, 0], [0, 6]]
    pair = apply(["keep-magnitude-global:0.5"], RealGradients(real), synthetic)
    assert [g.tolist() for g in pair.real.mean] == [[3, -4, 1, 0], [0, 0]]
    assert [g.tolist() for g in pair.synthetic] == [[1, 2, 3, 0], [0, 0]]


def test_stable_and_sensitive_entries_by_hand() -> None:
    # Noise changes the entries of the first sub-batch by 0.5, 0, -1 and 3.
    ones = numbers(1, 1, 1, 1)
    real = RealGradients([ones], ([numbers(1, 2, 3, 4)], [ones]), [numbers(1.5, 2, 2, 7)])
    assert apply(["keep-stable:0.5"], real, [ones]).synthetic[0].tolist() == [1, 1, 0, 0]
    assert apply(["keep-sensitive:0.5"], real, [ones]).synthetic[0].tolist() == [0, 0, 1, 1]
    assert apply(["keep-sensitive:0.75"], real, [ones]).real.mean[0].tolist() == [1, 0, 1, 1]


# Two sub-batches; their means are 2, 0, 2, 0, 2 and the variances of these 1, 1, 0, 0, 4.
PARTS = ([numbers(1, 1, 2, 0, 0)], [numbers(3, -1, 2, 0, 4)])
MEASURED = RealGradients([numbers(2, 0, 2, 0, 2)], PARTS)


def test_the_wiener_filter_by_hand() -> None:
    # Weights 4 / (4 + 1), 0, 1, 0, 4 / (4 + 4), on the real side only.
    pair = apply(["wiener:2"], MEASURED, [numbers(1, 1, 1, 1, 1)])
    torch.testing.assert_close(pair.real.mean, [numbers(1.6, 0, 2, 0, 1)])
    torch.testing.assert_close(pair.real.parts[1], [numbers(2.4, 0, 2, 0, 2)])
    assert pair.synthetic[0].tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [("0.5", [1, 0, 1, 0, 1]), ("1", [1, 0, 1, 0, 1]), ("4", [1, 0, 1, 0, 0]), ("5", [0, 0, 1, 0, 0])],
)
def test_keep_snr_by_hand(ratio: str, kept: list[int]) -> None:
    pair = apply([f"keep-snr:{ratio}"], MEASURED, [numbers(1, 1, 1, 1, 1)])
    assert pair.synthetic[0].tolist() == kept
    assert pair.real.mean[0].tolist() == [2 * entry for entry in kept]


def test_the_order_of_transforms_matters() -> None:
    kernels = numbers(3, -6, -5, 1).view(1, 2, 1, 2)
    real = RealGradients([kernels])
    pooled_first = apply(["max-pool-1", "keep-magnitude:0.5"], real, [kernels])
    masked_first = apply(["keep-magnitude:0.5", "max-pool-1"], real, [kernels])
    assert pooled_first.real.mean[0].flatten().tolist() == [3, 0]
    assert masked_first.real.mean[0].flatten().tolist() == [0, 0]  # of 0 -6 and of -5 0


# Counts.

FRACTIONS = ["1", "0.999", "0.5", "0.333333333333", "0.29", "0.57", "0.1", "0.07", "0.0025", "0.000000001"]


def kept(name: str, real: RealGradients) -> list[Tensor]:
    """Return which entries a mask keeps."""
    pair = apply([name], real, [torch.ones_like(g) for g in real.mean])
    return [g != 0 for g in pair.synthetic]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_mask_keeps_exactly_its_fraction_rounded_up(mask: str, fraction: str, kind: str) -> None:
    shapes = [(1,), (2,), (3,), (7,), (30,), (100,), (10, 40), (5, 4, 3, 3)]
    real = real_side(kind, shapes)
    for entries in kept(f"{mask}:{fraction}", real):
        assert entries.sum() == ceil(Decimal(fraction) * entries.numel())
    everywhere = kept(f"{mask}-global:{fraction}", real)
    total = sum(entries.numel() for entries in everywhere)
    assert sum(int(entries.sum()) for entries in everywhere) == ceil(Decimal(fraction) * total)


@pytest.mark.parametrize(("fraction", "n", "number"), [("0.1", 30, 3), ("0.07", 100, 7), ("0.29", 100, 29)])
def test_fractions_are_taken_as_they_are_written(fraction: str, n: int, number: int) -> None:
    # The number nearest to 0.1 is a little more than it, 0.07 * 100 is 7.000000000000001, and 0.29 * 100 less than 29.
    assert kept(f"keep-magnitude:{fraction}", real_side("normal", [(n,)]))[0].sum() == number


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["equal", "zero"])
def test_the_first_among_equals_are_kept(mask: str, kind: str) -> None:
    real = real_side(kind, [(2, 3), (4,)])
    assert [k.flatten().tolist() for k in kept(f"{mask}:0.5", real)] == [
        [True] * 3 + [False] * 3,
        [True, True, False, False],
    ]
    assert [k.flatten().tolist() for k in kept(f"{mask}-global:0.7", real)] == [
        [True] * 6,
        [True, False, False, False],
    ]


def test_the_largest_are_marked_and_ties_go_to_the_first() -> None:
    assert largest(numbers(1, 3, 2, 3, 3), 2).tolist() == [False, True, False, True, False]
    assert largest(numbers(1, 3, 2, 3, 3), 4).tolist() == [False, True, True, True, True]
    generator = torch.Generator().manual_seed(4)
    for n in (1, 2, 5, 40):
        scores = torch.randint(-2, 3, (n,), generator=generator).double()
        for number in range(1, n + 1):
            ranked = sorted(range(n), key=scores.tolist().__getitem__, reverse=True)
            assert largest(scores, number).nonzero().flatten().tolist() == sorted(ranked[:number])


# Filters.


def test_filters_leave_the_gradient_alone_where_sub_batches_agree() -> None:
    mean, noise = gradients("normal", 1), [gradients("normal", seed) for seed in range(2, 6)]
    errors = []
    for scale in (0.1, 0.01, 0.001, 0.0):
        parts = tuple([m + scale * n for m, n in zip(mean, part, strict=True)] for part in noise)
        pair = apply(["wiener:4"], RealGradients(mean, parts), mean)
        errors.append(max(float((f - m).abs().max()) for f, m in zip(pair.real.mean, mean, strict=True)))
        if scale == 0:
            masked = apply(["keep-snr:1000000"], RealGradients(mean, parts), mean)
            assert all(torch.equal(f, m) for f, m in zip(masked.real.mean, mean, strict=True))
    assert errors[0] > errors[1] > errors[2] > errors[3] == 0
    assert errors[2] < 1e-3


def planted(signal: float, seed: int) -> tuple[Tensor, RealGradients]:
    """Hide a known gradient, one entry in ten of it not zero, under noise of variance 1 in the mean of four."""
    generator = torch.Generator().manual_seed(seed)
    truth = signal * (torch.rand(20_000, generator=generator, dtype=torch.float64) < 0.1).double()
    parts = [truth + 2 * torch.randn(20_000, generator=generator, dtype=torch.float64) for _ in range(4)]
    return truth, RealGradients([torch.stack(parts).mean(0)], tuple([part] for part in parts))


@pytest.mark.parametrize("seed", range(3))
def test_the_wiener_filter_comes_closer_to_a_gradient_that_is_mostly_noise(seed: int) -> None:
    truth, real = planted(5.0, seed)
    before = (real.mean[0] - truth).square().mean()
    after = (apply(["wiener:4"], real, [truth]).real.mean[0] - truth).square().mean()
    # Known variances would give 0.54; where the truth is no signal at all, 0.47.
    assert float(before) == pytest.approx(1, abs=0.05)
    assert 0.5 < float(after / before) < 0.7


def test_keep_snr_finds_the_planted_entries() -> None:
    truth, real = planted(10.0, 0)
    selected = apply(["keep-snr:9"], real, [torch.ones_like(truth)]).synthetic[0] != 0
    assert float(selected[truth != 0].double().mean()) > 0.95
    # A t variable of 3 degrees of freedom is beyond 3 in 5.8 % of trials.
    assert float(selected[truth == 0].double().mean()) == pytest.approx(0.058, abs=0.01)


@pytest.mark.parametrize("name", ["keep-magnitude:1", "keep-stable:1", "keep-sensitive-global:1"])
def test_a_mask_that_keeps_everything_asks_for_nothing(name: str) -> None:
    made = transform_named(name)
    assert (made.wants_noise, made.parts) == (False, 0)
