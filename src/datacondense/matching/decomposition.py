"""Which part of pixel gradients belongs to the data, and which to the network and to the batch drawn at random.

R random networks and D real batches are crossed: every network sees every batch. The gradients are modelled as

    y[r, d] = mu + a[r] + b[d] + e[r, d],

vectors with random effects of the network (a), of the batch (b) and of both together (e), and the expected squared
length `E|y|²` is split into |mu|², E|a|², E|b|² and E|e|². All of it is computed from the inner products of the
gradients, so the number of pixels costs time once and no precision.

The estimates are those of the method of moments for a two-way crossed analysis of variance. With the mean squares of
networks, batches and residuals, `MS_A = D Σ|y[r,·] - y[·,·]|² / (R - 1)`, `MS_B = R Σ|y[·,d] - y[·,·]|² / (D - 1)` and
`MS_E = Σ|y[r,d] - y[r,·] - y[·,d] + y[·,·]|² / ((R - 1)(D - 1))`, they are `network = (MS_A - MS_E) / D`,
`batch = (MS_B - MS_E) / R`, `interaction = MS_E` and `data = |y[·,·]|² - (MS_A + MS_B - MS_E) / (R D)`; their sum is
the mean of |y|². To split the gradients of several classes together, join them into one vector.

An interval is the share ± t times its standard error, on the scale of the share and on that of its odds (whose factor
is at most e² = 7.4), whichever reaches farther at either end. The squared error is the sum of those of two jackknives,
one over networks and one over batches; t has min(R, D) - 1 degrees of freedom.
"""

from dataclasses import dataclass
from math import exp

import torch
from scipy.special import stdtrit
from torch import Tensor

from datacondense.errors import InputError

_LEVEL = 0.95
_LEAST_FOR_INTERVALS = 3  # the jackknife leaves out one network or batch, and two must remain
_MOST_STRETCH = 2.0  # of the odds of a share, as the logarithm of a factor
_PIXELS_AT_ONCE = 2**16  # which are copied in float64


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part of the expected squared length of a gradient.

    Attributes:
        squared_length: The part, in squared units of the gradient. The estimate has no bias, so it falls below zero by
            chance where the part is close to it.
        share: The part of the sum of all four, 0 to 1, or beyond by chance likewise.
        interval: 95 % interval of the share; None for fewer than three networks or three batches.
    """

    squared_length: float
    share: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """The parts of the expected squared length of a gradient.

    Attributes:
        data: What all networks and batches agree on. Its share is the expected agreement of two gradients of different
            networks and different batches, `E<y, y'> / E|y|²`.
        network: What belongs to the network alone, whatever the batch.
        batch: What belongs to the batch alone, whatever the network.
        interaction: What belongs to one network and one batch together.
    """

    data: Component
    network: Component
    batch: Component
    interaction: Component


def decompose(gradients: Tensor) -> Decomposition:
    """Return the parts of the mean squared length of gradients `[R, D, ...]`, one for each network and batch."""
    networks, batches = gradients.shape[:2]
    if min(networks, batches) < 2:
        raise InputError(
            f"There are gradients of {networks} networks and {batches} batches, but a decomposition needs at least 2 "
            "of each: give more."
        )
    products = _inner_products(gradients)
    parts = _parts(products)
    total = float(parts.sum())
    if not 0 < total < float("inf"):
        raise InputError(
            f"The mean squared length of the gradients is {total}, but must be above 0 and finite: give gradients that "
            "are not all zero, NaN or infinite."
        )
    shares = (parts / total).tolist()
    errors = _standard_errors(products)
    intervals = [None] * 4 if errors is None else map(_interval, shares, errors)
    found = [
        Component(squared_length=part, share=share, interval=interval)
        for part, share, interval in zip(parts.tolist(), shares, intervals, strict=True)
    ]
    return Decomposition(**dict(zip(("data", "network", "batch", "interaction"), found, strict=True)))


def _inner_products(gradients: Tensor) -> Tensor:
    """Compute the inner products `[R, D, R, D]` of all pairs of gradients, in float64."""
    networks, batches = gradients.shape[:2]
    products = torch.zeros(networks * batches, networks * batches, dtype=torch.float64)
    for part in gradients.reshape(networks * batches, -1).split(_PIXELS_AT_ONCE, dim=1):
        columns = part.to("cpu", torch.float64)
        products += columns @ columns.T
    return products.view(networks, batches, networks, batches)


def _parts(products: Tensor) -> Tensor:
    """Estimate the four parts `[4]` from the mean inner products of pairs that share nothing, one thing or both."""
    # For a complete grid these are the estimates of the analysis of variance: pairs of different networks and different
    # batches have |mu|² in common, pairs of one network E|a|² too, and so on.
    networks, batches = products.shape[:2]
    full, of_network, of_batch, itself = (
        torch.einsum(f"{pair}->", products) for pair in ("rdse", "rdre", "rdsd", "rdrd")
    )
    grid = networks * batches
    length = itself / grid
    data = (full - of_network - of_batch + itself) / (grid * (networks - 1) * (batches - 1))
    network = (of_network - itself) / (grid * (batches - 1)) - data
    batch = (of_batch - itself) / (grid * (networks - 1)) - data
    return torch.stack([data, network, batch, length - data - network - batch])


def _standard_errors(products: Tensor) -> list[float] | None:
    """Compute t times the standard error of each share; None for too few networks or batches."""
    sizes = products.shape[:2]
    if min(sizes) < _LEAST_FOR_INTERVALS:
        return None
    variances = torch.zeros(4, dtype=torch.float64)
    for axis, size in enumerate(sizes):
        left = [_parts(_without(products, axis, index)) for index in range(size)]
        # All gradients that are left may be zero.
        shares = torch.stack([parts / parts.sum().clamp_min(torch.finfo(parts.dtype).tiny) for parts in left])
        variances += (size - 1) * shares.var(dim=0, correction=0)
    quantile = float(stdtrit(min(sizes) - 1, (1 + _LEVEL) / 2))
    return (quantile * variances.sqrt()).tolist()


def _without(products: Tensor, axis: int, index: int) -> Tensor:
    """Return the products without one network (axis 0) or batch (axis 1) on both sides."""
    kept = [other for other in range(products.shape[axis]) if other != index]
    indices = torch.tensor(kept)
    return products.index_select(axis, indices).index_select(axis + 2, indices)


def _interval(share: float, half: float) -> tuple[float, float]:
    """Widen `share ± half`, which is too short where small shares have small errors by the same luck."""
    low, high = share - half, share + half
    if not 0 < share < 1:
        return low, high
    factor = exp(min(half / (share * (1 - share)), _MOST_STRETCH))
    odds = share / (1 - share)
    return min(low, odds / (odds + factor)), max(high, odds * factor / (1 + odds * factor))
