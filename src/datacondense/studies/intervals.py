"""95 % intervals of the mean over networks that were trained on a few sets."""

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
    """Give the 95 % interval of a mean: Student's t over the means of the sets, with one degree of freedom less.

    Networks trained on one set share its luck and are no independent sample of what the method does; a bootstrap of
    a handful of sets gives intervals that are far too narrow. With a single set the interval is over its networks and
    speaks of that set alone.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: For each seed the set, where some seeds share one.

    Returns:
        Both ends; infinite for a single number, which has no spread.
    """
    groups = _by_set(values, origins)
    sample = groups[0] if len(groups) == 1 else [fmean(group) for group in groups]
    if len(sample) < 2:
        return -inf, inf
    half = float(stdtrit(len(sample) - 1, (1 + _LEVEL) / 2)) * stdev(sample) / sqrt(len(sample))
    return fmean(sample) - half, fmean(sample) + half


def bootstrap_interval(values: Accuracies, origins: Mapping[int, str] | None = None) -> Interval:
    """Give the 95 % interval of a mean by the percentile bootstrap: sets are drawn again, then networks within each.

    Too narrow for a handful of sets, see `Difference`. The draws come from a stream of their own, so that equal numbers
    have equal intervals.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: For each seed the set, where some seeds share one.

    Returns:
        Both ends; infinite for a single set.
    """
    groups = _by_set(values, origins)
    if len(groups) < 2:
        return -inf, inf
    generator = seeded_generator(0, "bootstrap")
    drawn = torch.randint(len(groups), (_RESAMPLES, len(groups)), generator=generator)
    means = torch.empty(drawn.shape, dtype=torch.float64)
    for index, group in enumerate(groups):
        places = drawn == index
        networks = torch.randint(len(group), (int(places.sum()), len(group)), generator=generator)
        means[places] = torch.tensor(group, dtype=torch.float64)[networks].mean(dim=1)
    ends = torch.tensor([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], dtype=torch.float64)
    low, high = means.mean(dim=1).quantile(ends).tolist()
    return low, high


def set_means(values: Accuracies, origins: Mapping[int, str] | None = None) -> list[float]:
    """Give the mean of each set.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: For each seed the set, where some seeds share one.

    Returns:
        The means, in the order of the seeds.
    """
    return [fmean(group) for group in _by_set(values, origins)]


def _by_set(values: Accuracies, origins: Mapping[int, str] | None) -> list[list[float]]:
    """Gather the numbers of each set, set by set and network by network."""
    groups: dict[int | str, list[float]] = {}
    for (seed, _), value in sorted(values.items()):
        groups.setdefault((origins or {}).get(seed, seed), []).append(value)
    return list(groups.values())
