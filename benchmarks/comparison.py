"""Statistics of the records."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

import torch
from plain import ConvNet
from scipy.special import bdtrik
from torch.utils.flop_counter import FlopCounterMode


class Comparison(NamedTuple):
    """Medians of both variants and of the ratio plain / datacondense of each pair, with its 95 % interval."""

    ours: float
    plain: float
    ratio: float
    ends: list[float] | None
    pairs: int


def compare(frame: Any, value: str) -> Comparison:
    """Compare a column of paired rows, a row for each pair and variant."""
    wide = frame.dropna(subset=["variant"]).pivot(index="pair", columns="variant", values=value)
    ratios = (wide.plain / wide.datacondense).dropna()
    ours, plain, ratio = (float(values.median()) for values in (wide.datacondense, wide.plain, ratios))
    return Comparison(ours, plain, ratio, median_interval(ratios), len(ratios))


def median_interval(values: Iterable[float]) -> list[float] | None:
    """Return the narrowest pair of order statistics that covers the median with 95 % or more; None for n below 6."""
    ordered = sorted(values)
    k = ceil(bdtrik(0.025, len(ordered), 0.5)) if len(ordered) > 5 else 0
    return [ordered[k - 1], ordered[-k]] if k else None


def step_operations(shape: Sequence[int], num_classes: int, images: int) -> dict[str, int]:
    """Count multiplications and additions in convolutions and linear layers for the gradients of some images."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        loss = ConvNet(tuple(shape), num_classes)(torch.empty(1, *shape)).sum()
        forward = counter.get_total_flops()
        loss.backward()
    backward = counter.get_total_flops() - forward
    # The weight gradient costs as much as the forward pass; the first layer needs no input gradient.
    kinds = {"forward": forward, "weight_gradient": forward, "input_gradient": backward - forward}
    return {kind: images * count for kind, count in kinds.items()}


def share_of_ceiling(operations: dict[str, int], gflops: dict[str, float], seconds: float) -> float:
    """Return the time of the operations at the ceiling's rates divided by the time they took."""
    return sum(count / gflops[kind] / 1e9 for kind, count in operations.items()) / seconds
