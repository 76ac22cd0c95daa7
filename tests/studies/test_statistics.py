"""Intervals of means over a few sets: by hand, by loops, and by simulation."""

import math
from collections.abc import Callable

import pytest
import torch

from datacondense.studies.statistics import Groups, Interval, bootstrap_interval, mean_interval


def sampled(trials: int, sets: int, networks: int, of_sets: float) -> list[Groups]:
    """Draw numbers whose mean is zero, with a deviation of the sets and one of 1 of the networks on them."""
    generator = torch.Generator().manual_seed(0)
    shared = of_sets * torch.randn(trials, sets, 1, generator=generator)
    values = shared + torch.randn(trials, sets, networks, generator=generator)
    return list(values.tolist())


def share_without_zero(interval: Callable[[Groups], Interval], trials: list[Groups]) -> float:
    """Return the share of trials in which an effect of zero is called real."""
    found = [interval(values) for values in trials]
    return sum(not low <= 0 <= high for low, high in found) / len(found)


@pytest.mark.parametrize("groups", [([0.25] * 4,), ([0.25] * 4, [0.25]), ([0.25], [0.25], [0.25])])
def test_constant_values_have_an_interval_without_width(groups: tuple[list[float], ...]) -> None:
    assert mean_interval(groups) == (0.25, 0.25)


def test_the_interval_is_students_t_over_the_means_of_sets() -> None:
    # Means 1, 2, 3 of three sets: std 1, and t of 2 degrees of freedom is 4.3027 (Student's table).
    half = 4.302653 / math.sqrt(3)
    values = [[0.5, 1.5], [2.0, 2.0, 2.0], [3.0]]
    assert mean_interval(values) == pytest.approx((2 - half, 2 + half))
    assert mean_interval(values[::-1]) == pytest.approx(mean_interval(values))


def test_the_interval_of_one_set_is_over_its_networks() -> None:
    half = 4.302653 / math.sqrt(3)
    assert mean_interval([[1.0, 2.0, 3.0]]) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize("sets", [2, 3, 5])
def test_students_intervals_have_their_nominal_coverage(sets: int) -> None:
    assert 0.03 < share_without_zero(mean_interval, sampled(1000, sets, 4, 2.0)) < 0.07


@pytest.mark.parametrize(("sets", "low", "high"), [(2, 0.3, 0.55), (3, 0.2, 0.4), (10, 0.04, 0.14)])
def test_the_bootstrap_is_too_narrow_for_few_sets(sets: int, low: float, high: float) -> None:
    assert low < share_without_zero(bootstrap_interval, sampled(150, sets, 4, 3.0)) < high


def test_the_bootstrap_by_hand() -> None:
    # The mean of 3 draws from 0, 0, 3 is how often 3 is drawn: 3 times with probability 1/27 = 3.7 %.
    assert bootstrap_interval([[0.0], [0.0, 0.0], [3.0]]) == pytest.approx((0, 3))
    # The mean of 4 draws from 0, 0, 0, 4 likewise: 4 times with 1/256 = 0.4 %, 3 or 4 times with 13/256 = 5.1 %.
    assert bootstrap_interval([[0.0], [0.0], [0.0], [4.0]]) == pytest.approx((0, 3))


def test_the_bootstrap_resamples_networks_within_sets() -> None:
    # Sets are alike, so that only networks can differ: 16 draws of ±1, a deviation of 1/4.
    low, high = bootstrap_interval([[1.0, -1.0] * 4] * 2)
    assert (low, high) == pytest.approx((-0.5, 0.5), abs=0.13)
    # And sets, where networks are alike: 40 draws of ±1.
    low, high = bootstrap_interval([[1.0] * 3, [-1.0] * 3] * 20)
    assert (low, high) == pytest.approx((-0.31, 0.31), abs=0.07)


def test_the_bootstrap_of_equal_numbers_is_equal() -> None:
    (values,) = sampled(1, 4, 5, 1.0)
    torch.manual_seed(3)
    first = bootstrap_interval(values)
    assert bootstrap_interval(values) == first
    low, high = first
    assert low < sum(map(sum, values)) / 20 < high


@pytest.mark.parametrize("values", [[[0.5]], [[0.1, 0.9]]])
def test_the_bootstrap_of_a_single_set_is_infinite(values: Groups) -> None:
    assert bootstrap_interval(values) == (-math.inf, math.inf)
