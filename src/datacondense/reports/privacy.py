"""How near synthetic images are to the training images, and whether they betray who was trained on.

Distances are root mean squares over pixels, in pixel scale: 0 for the same image, 1 from black to white.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from datacondense.random import seeded_generator

_CHUNK = 4096  # images compared at once
_MOST_SYNTHETIC, _MOST_REAL, _MOST_ATTACKED = 1000, 500, 1000
_SHOWN_NEIGHBOURS = 3
_Z = 1.96  # of a 95 % interval


class Neighbours(NamedTuple):
    """The nearest images of each query, nearest first: distances `[N, k]` and positions `[N, k]`."""

    distances: Tensor
    positions: Tensor


class Attack(NamedTuple):
    """How well an attack tells training images from others: area under its ROC curve, with a 95 % interval."""

    auc: float
    low: float
    high: float
    n: int
    """Training images, and as many test images or all there are."""
    others: int


class Privacy(NamedTuple):
    """What `measure_privacy` measures."""

    synthetic: Tensor
    """Positions of the synthetic images that were compared `[M]`."""
    nearest: Neighbours
    """Their nearest training images."""
    among_real: Tensor
    """Distance of each of some training images to its nearest other one, sorted `[n]`."""
    attack: Attack | None
    """Membership inference; None where there are no test images."""

    def quantiles(self, *shares: float) -> list[tuple[float, float]]:
        """Return quantiles of the nearest distances: of synthetic images, and of training images."""
        pairs = [
            [float(found.quantile(share)) for share in shares]
            for found in (self.nearest.distances[:, 0], self.among_real)
        ]
        return list(zip(*pairs, strict=True))


@torch.no_grad()
def measure_privacy(
    synthetic: Tensor, train: Tensor, test: Tensor | None = None, *, seed: int = 0
) -> Privacy:
    """Compare synthetic images with the images they were learned from, and attack them by their distances.

    The attack is the full black-box one of Chen et al. 2020 ("GAN-Leaks"): an image is taken for a training image the
    nearer its nearest synthetic image is.

    Args:
        synthetic: Synthetic images, decoded `[M, C, H, W]`, float, in pixel scale; of more than 1000 a sample.
        train: Training images `[N, C, H, W]`: float in pixel scale, or uint8 in 0-255.
        test: Images of the same kind that were not trained on.
        seed: Seed of the samples: 500 training images compared with each other, 1000 of each kind attacked.

    Returns:
        Distances, and the attack.
    """
    shown = _sample(len(synthetic), _MOST_SYNTHETIC, seed, "synthetic")
    queries = scaled(synthetic[shown])
    alone = _sample(len(train), _MOST_REAL, seed, "real")
    among = nearest(scaled(train[alone]), train, 1, skipped=alone).distances[:, 0]
    attack = None
    if test is not None:
        scores = [
            -nearest(scaled(images[_sample(len(images), _MOST_ATTACKED, seed, name)]), queries, 1).distances
            for name, images in (("members", train), ("others", test))
        ]
        attack = auc(scores[0].flatten(), scores[1].flatten())
    return Privacy(shown, nearest(queries, train, _SHOWN_NEIGHBOURS), among.sort().values, attack)


def nearest(queries: Tensor, images: Tensor, k: int, *, skipped: Tensor | None = None) -> Neighbours:
    """Find the k nearest images of each query, in chunks of a few thousand.

    Args:
        queries: Float images `[N, C, H, W]` in pixel scale.
        images: Images to look among `[M, C, H, W]`, of any kind that `measure_privacy` takes.
        k: How many; fewer where there are not so many images.
        skipped: For each query the position of an image that is left out, such as itself `[N]`.

    Returns:
        Distances and positions.
    """
    flat = queries.flatten(1)
    best = flat.new_empty(len(flat), 0)
    found = torch.empty(len(flat), 0, dtype=torch.int64)
    for positions in torch.arange(len(images)).split(_CHUNK):
        chunk = scaled(images[positions], flat.dtype).flatten(1)
        # |a - b|² = |a|² - 2ab + |b|²; rounding is undone below.
        squares = torch.addmm(chunk.square().sum(1), flat, chunk.T, alpha=-2) + flat.square().sum(1, True)
        if skipped is not None:
            squares[skipped[:, None] == positions] = torch.inf
        best = torch.cat([best, squares], 1)
        found = torch.cat([found, positions.expand(len(flat), -1)], 1)
        best, order = best.topk(min(k, best.shape[1]), largest=False)
        found = found.gather(1, order)
    distances = [
        (query - scaled(images[own], flat.dtype).flatten(1)).square().mean(1).sqrt()
        for query, own in zip(flat, found, strict=True)
    ]
    return Neighbours(torch.stack(distances), found)


def auc(members: Tensor, others: Tensor) -> Attack:
    """Compute the area under the ROC curve of scores, and its interval by DeLong et al. 1988.

    The area is P(member > other) + P(member = other)/2. Its variance is Var(V₁₀)/m + Var(V₀₁)/n, with V₁₀ the share of
    others below each member, V₀₁ the share of members above each other, ties counted by half.

    Args:
        members: Scores of training images `[m]`, higher where the attack believes in membership.
        others: Scores of other images `[n]`.

    Returns:
        The area, 0.5 for guessing, with its 95 % interval within 0 to 1.
    """
    below, above = _share_below(members, others), 1 - _share_below(others, members)
    area = float(below.mean())
    variance = sum(float(v.var()) / len(v) for v in (below, above) if len(v) > 1)
    reach = _Z * variance**0.5
    return Attack(area, max(0.0, area - reach), min(1.0, area + reach), len(members), len(others))


def _share_below(values: Tensor, among: Tensor) -> Tensor:
    """Return the share of `among` below each value, ties counted by half."""
    ordered, values = among.double().sort().values, values.double()
    ends = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return torch.stack([*ends]).double().mean(0) / len(among)


def scaled(images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return images in pixel scale; uint8 in 0-255 become float."""
    if images.dtype == torch.uint8:
        return images.to(dtype or torch.float32) / 255
    return images if dtype is None else images.to(dtype)


def _sample(total: int, most: int, seed: int, purpose: str) -> Tensor:
    """Draw positions of at most so many images, in order."""
    generator = seeded_generator(seed, f"privacy of {purpose}")
    return torch.randperm(total, generator=generator)[:most].sort().values
