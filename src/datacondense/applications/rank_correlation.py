"""How well a proxy ranks architectures: rank correlations with the reference, with bootstrap intervals."""

from collections.abc import Callable, Sequence
from math import nan
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau, rankdata

from datacondense.applications.search_result import REFERENCE, SearchResult
from datacondense.random import seeded_generator

Array: TypeAlias = Any  # of numpy

_RESAMPLES = 1000
_ENDS = (0.025, 0.975)
_TOP = 10  # architectures, in the paper


class Correlation(NamedTuple):
    """A rank correlation and its 95 % percentile bootstrap interval over architectures; NaN where there is none."""

    value: float
    low: float
    high: float
    architectures: int


class ProxyNumbers(NamedTuple):
    """What a proxy is worth.

    Attributes:
        proxy: Its name.
        network: The architecture with the highest accuracy on held-out images; the first of equal ones.
        accuracy: Test accuracy of that architecture after training on the full set, 0 to 1.
        on_proxy: Its test accuracy after training on the proxy.
        top: Spearman's correlation over the ten architectures that the reference ranks highest.
        half: Spearman's correlation over the half that the reference ranks highest.
        all: Spearman's correlation over all architectures.
        tau: Kendall's τ over all architectures.
        seconds: Training of all architectures.
        images: Images that are kept for it.
        tried: Architectures with a number.
        missing: Architectures without, among those of the search.
    """

    proxy: str
    network: str
    accuracy: float
    on_proxy: float
    top: Correlation
    half: Correlation
    all: Correlation
    tau: Correlation
    seconds: float
    images: float
    tried: int
    missing: int


def spearman(first: Array, second: Array) -> Array:
    """Return Spearman's correlation along the last axis, ties at their mean rank; NaN where all are equal."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    deviations = [each - each.mean(axis=-1, keepdims=True) for each in ranks]
    product, *squares = (
        (one * other).sum(axis=-1) for one, other in (deviations, [deviations[0]] * 2, [deviations[1]] * 2)
    )
    scale = np.sqrt(squares[0] * squares[1])
    return np.divide(product, scale, out=np.full_like(scale, nan), where=scale > 0)


def kendall(first: Array, second: Array) -> Array:
    """Return Kendall's τ-b along the last axis; NaN where all are equal."""
    pairs = zip(np.atleast_2d(first), np.atleast_2d(second), strict=True)
    found = np.array([kendalltau(*pair).statistic for pair in pairs])
    return found if np.ndim(first) > 1 else found[0]


def correlation(
    first: Sequence[float], second: Sequence[float], statistic: Callable[[Array, Array], Array] = spearman
) -> Correlation:
    """Return a rank correlation; the interval resamples architectures with a fixed seed."""
    one, other = np.asarray(first), np.asarray(second)
    if len(one) < 2:
        return Correlation(nan, nan, nan, len(one))
    sampled = torch.randint(
        len(one), (_RESAMPLES, len(one)), generator=seeded_generator(0, "rank correlation")
    ).numpy()
    values = statistic(one[sampled], other[sampled])
    known = values[~np.isnan(values)]  # a sample may hold one value only
    low, high = np.quantile(known, _ENDS) if len(known) else (nan, nan)
    return Correlation(float(statistic(one, other)), float(low), float(high), len(one))


def proxy_numbers(result: SearchResult) -> list[ProxyNumbers]:
    """Return the numbers of each proxy, then those of the reference where there is one."""
    names = [*result.proxies, *([REFERENCE] if result.reference else [])]
    return [_numbers(result, name) for name in names]


def _numbers(result: SearchResult, proxy: str) -> ProxyNumbers:
    own, reference = _scores(result, proxy), _scores(result, REFERENCE)
    # By the reference; the order of the space decides between equal ones.
    both = own.assign(reference=reference["held_out"]).dropna(subset="reference")
    both = both.sort_values("reference", ascending=False, kind="stable")
    network = str(own["held_out"].idxmax()) if len(own) else ""

    def over(number: int, statistic: Callable[[Array, Array], Array] = spearman) -> Correlation:
        best = both.head(number)
        return correlation(best["held_out"].tolist(), best["reference"].tolist(), statistic)

    return ProxyNumbers(
        proxy=proxy,
        network=network,
        accuracy=float(reference["test"].get(network, nan)),
        on_proxy=float(own["test"].get(network, nan)),
        top=over(_TOP),
        half=over(-(-len(both) // 2)),
        all=over(len(both)),
        tau=over(len(both), kendall),
        seconds=float(own["seconds"].sum()),
        images=float(own["images"].max()),
        tried=len(own),
        missing=len(result.networks) - len(own),
    )


def _scores(result: SearchResult, proxy: str) -> pd.DataFrame:
    """Return the lines of a proxy with a number, by architecture."""
    lines = result.frame[result.frame["proxy"] == proxy].dropna(subset="held_out")
    return lines.set_index("network")[["held_out", "test", "images", "seconds"]]
