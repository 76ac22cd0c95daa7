"""What distribution matching compares: a vector of each image, and how far apart the class means of these are."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-12  # under the root, whose slope has no end at 0
_CHARACTERISTIC_WEIGHT = 300  # as published


def squared_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Compute `Σ_k ‖real_k - synthetic_k‖²` of class means `[K, D]`."""
    distance: Tensor = (real - synthetic).square().sum()
    return distance


def with_attention(maps: Sequence[Tensor], features: Tensor, weight: float) -> Tensor:
    """Return features beside attention maps (Sajedi et al., ICCV 2023, "DataDAM").

    The attention of a map is `Σ_c |map_c|` over its channels, of length 1 for every image. The last map is left out,
    as features are what becomes of it, unless it is the only one. `squared_distance` of the means then is that of the
    features, and weight × the sum of those of the attention maps.

    Args:
        maps: Of each layer `[N, C', H', W']`, in order.
        features: Features of the same images `[N, D]`.
        weight: Of the attention maps.

    Returns:
        `[N, ΣH'W' + D]`.
    """
    attention = [
        F.normalize(own.to(features.dtype).abs().sum(1).flatten(1)) for own in maps[: max(1, len(maps) - 1)]
    ]
    return torch.cat([*(weight**0.5 * own for own in attention), features], 1)


def characteristic(features: Tensor, frequencies: Tensor) -> Tensor:
    """Return real and imaginary parts of `exp(i t·f)`, whose mean is the empirical characteristic function.

    Args:
        features: Features f `[N, D]`, which are divided by their length.
        frequencies: Frequencies t `[F, D]`.

    Returns:
        Cosines, then sines, `[N, 2F]`.
    """
    phases = F.normalize(features) @ frequencies.T
    return torch.cat([phases.cos(), phases.sin()], 1)


def characteristic_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Compute the distance of characteristic functions φ (Wang et al., CVPR 2025, "NCFM"), summed over classes.

    The published term `√(½(|φr| - |φs|)² + |φr||φs| - Re φr Re φs - Im φr Im φs)` is `√(½|φr - φs|²)`: in this form it
    has a slope where φ is 0, and with 1e-12 under the root where they are equal. It is averaged over frequencies and
    weighted by 300, as published.

    Args:
        real: Cosines and sines of each class `[K, 2F]`, see `characteristic`.
        synthetic: Likewise.

    Returns:
        A scalar.
    """
    apart = (real - synthetic).unflatten(1, (2, -1)).square().sum(1)
    distance: Tensor = _CHARACTERISTIC_WEIGHT * (apart / 2 + _SMALLEST).sqrt().mean(1).sum()
    return distance
