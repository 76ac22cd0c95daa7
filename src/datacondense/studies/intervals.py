"""95 % intervals of the mean over networks trained on a few sets."""

from collections.abc import Mapping
from math import inf, sqrt
from statistics import fmean, stdev
from typing import TypeAlias

import torch
from scipy.special import stdtrit

from datacondense.random import seeded_generator

Accuracies: TypeAlias = Mapping[tuple[int, int], float]  # by seed of the set and number of the network
Interval: TypeAlias = tuple[float, float]

_LEVEL = 0.95
_RESAMPLES = 2000


def mean_interval(values: Accuracies, origins: Mapping[int, str] | None = None) -> Interval:
    """Return the 95 % interval of a mean: Student's t over the means of the sets, with n - 1 degrees of freedom.

    Networks trained on one set are not independent samples of what the method does, and a bootstrap over a handful of
    sets gives intervals that are far too narrow. With a single set the interval is over its networks and holds for that
    set only.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: The set of each seed, if some seeds share one.

    Returns:
        Both ends; infinite for a single number.
    """
    groups = _by_set(values, origins)
    sample = groups[0] if len(groups) == 1 else [fmean(group) for group in groups]
    if len(sample) < 2:
        return -inf, inf
    half = float(stdtrit(len(sample) - 1, (1 + _LEVEL) / 2)) * stdev(sample) / sqrt(len(sample))
    return fmean(sample) - half, fmean(sample) + half


def bootstrap_interval(values: Accuracies, origins: Mapping[int, str] | None = None) -> Interval:
    """Return the 95 % interval of a mean by the percentile bootstrap: sets are resampled, then networks within each.

    It is too narrow for a handful of sets, see `Difference`. The generator is seeded, so that equal numbers have equal
    intervals.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: The set of each seed, if some seeds share one.

    Returns:
        Both ends; infinite for a single set.
    """
    groups = _by_set(values, origins)
    if len(groups) < 2:
        return -inf, inf
    generator = seeded_generator(0, "bootstrap")
    sampled = torch.randint(len(groups), (_RESAMPLES, len(groups)), generator=generator)
    means = torch.empty(sampled.shape, dtype=torch.float64)
    for index, group in enumerate(groups):
        mask = sampled == index
        networks = torch.randint(len(group), (int(mask.sum()), len(group)), generator=generator)
        means[mask] = torch.tensor(group, dtype=torch.float64)[networks].mean(dim=1)
    ends = torch.tensor([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], dtype=torch.float64)
    low, high = means.mean(dim=1).quantile(ends).tolist()
    return low, high


def set_means(values: Accuracies, origins: Mapping[int, str] | None = None) -> list[float]:
    """Return the mean of each set.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: The set of each seed, if some seeds share one.

    Returns:
        The means, in the order of the seeds.
    """
    return [fmean(group) for group in _by_set(values, origins)]


def _by_set(values: Accuracies, origins: Mapping[int, str] | None) -> list[list[float]]:
    """Group the numbers by set, ordered by seed and network."""
    groups: dict[int | str, list[float]] = {}
    for (seed, _), value in sorted(values.items()):
        groups.setdefault((origins or {}).get(seed, seed), []).append(value)
    return list(groups.values())
