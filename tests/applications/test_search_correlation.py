"""Rank correlations against examples by hand, and what a proxy picks."""

from math import isnan, nan, sqrt

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from datacondense.applications.rank_correlation import correlation, kendall, proxy_numbers, spearman
from tests.applications.made_search import made


@pytest.mark.parametrize(
    ("first", "second", "rho", "tau"),
    [
        ([1, 2, 3], [10, 20, 30], 1, 1),
        ([1, 2, 3], [3, 2, 1], -1, -1),
        # Rank differences 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15); 5 of 6 pairs agree.
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8, 4 / 6),
        # A tie takes the mean rank, 1.5: covariance 1.5 over sqrt(2 * 1.5); τ-b 2 / sqrt(3 * 2).
        ([1, 2, 3], [5, 5, 6], 1.5 / sqrt(3), 2 / sqrt(6)),
        ([1, 2, 3], [7, 7, 7], nan, nan),
    ],
)
def test_correlations_agree_with_examples_by_hand(
    first: list[float], second: list[float], rho: float, tau: float
) -> None:
    for statistic, expected in ((spearman, rho), (kendall, tau)):
        found = correlation(first, second, statistic)
        assert found.value == pytest.approx(expected, nan_ok=True)
        assert found.architectures == len(first)


def test_spearman_of_many_samples_is_that_of_each() -> None:
    first, second = np.random.default_rng(0).integers(0, 5, size=(2, 20, 9)).astype(float)
    expected = [spearmanr(*pair).statistic for pair in zip(first, second, strict=True)]
    assert spearman(first, second) == pytest.approx(expected)


def test_intervals_are_the_same_each_time_and_hold_the_value() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=40)
    second = first + generator.normal(size=40)
    found = correlation(first.tolist(), second.tolist())
    assert found == correlation(first.tolist(), second.tolist())
    assert found.low < found.value < found.high
    of_scipy = bootstrap(
        (first, second), spearman, n_resamples=1000, paired=True, method="percentile", vectorized=False
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(of_scipy), abs=0.06)
    assert isnan(correlation([1.0], [1.0]).value)


def test_a_proxy_picks_by_held_out_images_and_never_by_test_images() -> None:
    result = made({
        "random": {"a": (0.6, 0.1), "b": (0.5, 0.9), "c": (0.6, 0.8)},
        "reference": {"a": (0.7, 0.71), "b": (0.9, 0.92), "c": (0.8, 0.83)},
    })
    own, reference = proxy_numbers(result)
    assert (own.network, own.accuracy, own.on_proxy) == ("a", 0.71, 0.1), "the first of equal ones"
    assert (reference.network, reference.accuracy) == ("b", 0.92)
    assert own.all.value == pytest.approx(spearman([0.6, 0.5, 0.6], [0.7, 0.9, 0.8]))


def test_the_top_is_that_of_the_reference() -> None:
    networks = [f"n{number:02}" for number in range(30)]
    # The proxy ranks the best ten of the reference alike, but below the others, which it reverses.
    proxy = [*range(50, 30, -1), *range(1, 11)]
    result = made({
        "random": {name: (value / 100, 0.0) for name, value in zip(networks, proxy, strict=True)},
        "reference": {name: (value / 100, 0.0) for value, name in enumerate(networks)},
    })
    found = proxy_numbers(result)[0]
    assert found.top.value == 1
    assert found.top.architectures == 10
    assert found.half.architectures == 15
    assert found.half.value == pytest.approx(spearman(proxy[15:], range(15)))
    assert (found.all.architectures, found.tau.architectures) == (30, 30)


def test_architectures_without_a_number_are_counted() -> None:
    result = made({
        "random": {"a": (0.6, 0.1), "b": (nan, nan), "c": (0.2, 0.8)},
        "reference": {"a": (0.7, 0.71), "b": (0.9, 0.92)},
    })
    own, reference = proxy_numbers(result)
    assert (own.tried, own.missing, own.all.architectures) == (2, 1, 1)
    assert (reference.tried, reference.missing) == (2, 1)


def test_a_search_without_reference_has_no_correlations() -> None:
    (own,) = proxy_numbers(made({"random": {"a": (0.6, 0.1), "b": (0.5, 0.9)}}))
    assert (own.network, own.on_proxy) == ("a", 0.1)
    assert all(map(isnan, (own.accuracy, own.all.value, own.tau.value)))
