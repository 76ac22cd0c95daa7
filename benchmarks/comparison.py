"""Paired comparisons: rows in the order A B A B …, ratios per pair, medians with 95 % intervals."""

from collections.abc import Sequence
from itertools import product
from math import comb
from statistics import quantiles
from typing import Any

from measure import Point, Row

VARIANTS = ("plain", "datacondense")


def pair_points(pairs: int, **fixed: Any) -> list[Point]:
    """Return the points A B A B … of a paired measurement."""
    return [{**fixed, "pair": pair, "variant": variant} for pair, variant in product(range(pairs), VARIANTS)]


def spread(values: Sequence[float]) -> Row:
    """Return median and quartiles."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "quartiles": [low, high], "n": len(values)}


def median_interval(values: Sequence[float]) -> list[float] | None:
    """Return the narrowest pair of order statistics that covers the median with 95 % or more; None for n below 6.

    The k-th smallest and k-th largest of n miss the true median with probability 2·sum of C(n, i)/2^n over i below k.
    """
    ordered, n = sorted(values), len(values)
    missed, k = 0.0, 0
    while k < n // 2 and (missed := missed + 2 * comb(n, k) / 2**n) <= 0.05:
        k += 1
    return [ordered[k - 1], ordered[n - k]] if k else None


def compare(rows: Sequence[Row], value: str) -> Row:
    """Summarise a value of paired rows: each variant, and the ratio plain / datacondense of each pair."""
    plain, ours = ({r["pair"]: r[value] for r in rows if r.get("variant") == v} for v in VARIANTS)
    ratios = [plain[pair] / ours[pair] for pair in sorted(plain.keys() & ours.keys())]
    each = {"plain": spread(list(plain.values())), "datacondense": spread(list(ours.values()))}
    return {**each, "ratio": {**spread(ratios), "median_interval_95": median_interval(ratios)}}
