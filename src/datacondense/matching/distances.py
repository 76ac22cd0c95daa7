"""Distances between two lists of parameter gradients: the paper's layer-wise cosine, and those it is compared with.

Each takes the gradients of the same parameters for real and for synthetic images, tensor by tensor, and returns
a scalar that is differentiable with respect to the second.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.user_code import check_user_name, user_callable

Gradients: TypeAlias = Sequence[Tensor]
Distance: TypeAlias = Callable[[Gradients, Gradients], Tensor]

# Added to the product of norms, so that a dead unit (zero gradient) gives distance 1 and no NaN.
_EPSILON = 1e-6


def layerwise_cosine(real: Gradients, synthetic: Gradients) -> Tensor:
    """Return the sum over layers and their rows of `1 - cos(real row, synthetic row)` (paper, equation 10).

    The gradient of a layer with O outputs is read as O rows, one for all weights that feed one output. A vector (bias,
    norm parameter) is one row.
    """
    return torch.stack([
        _row_distance(_rows(g), _rows(s)) for g, s in zip(real, synthetic, strict=True)
    ]).sum()


def flat_cosine(real: Gradients, synthetic: Gradients) -> Tensor:
    """Compute `1 - cos(real, synthetic)`, 0 to 2, of the gradients as one vector."""
    return _row_distance(_flat(real)[None], _flat(synthetic)[None])


def squared(real: Gradients, synthetic: Gradients) -> Tensor:
    """Compute `sum of (real - synthetic)²` of the gradients as one vector."""
    return (_flat(real) - _flat(synthetic)).square().sum()


def absolute(real: Gradients, synthetic: Gradients) -> Tensor:
    """Compute `sum of |real - synthetic|` of the gradients as one vector."""
    return (_flat(real) - _flat(synthetic)).abs().sum()


DISTANCES: dict[str, Distance] = {
    "layerwise-cosine": layerwise_cosine,
    "flat-cosine": flat_cosine,
    "squared": squared,
    "absolute": absolute,
}


def check_distance(distance: str | Distance) -> None:
    """Check a distance as settings give it, by name or as a callable; nothing is imported."""
    if not isinstance(distance, str) or distance in DISTANCES:
        return
    if ":" not in distance:
        raise InputError(
            f"There is no distance {distance!r}: choose one of {', '.join(DISTANCES)}, or give your own as "
            "package.module:callable."
        )
    check_user_name(distance, "distance")


def distance_named(distance: str | Distance) -> Distance:
    """Return a distance: a key of `DISTANCES`, or the user's own, "package.module:callable" or the callable."""
    check_distance(distance)
    if isinstance(distance, str) and distance in DISTANCES:
        return DISTANCES[distance]
    return user_callable(distance, "distance", "(real gradients, synthetic gradients)")


def _rows(gradient: Tensor) -> Tensor:
    """Return a gradient as one row per output unit `[O, rest]`; a vector is a single row."""
    return gradient[None] if gradient.dim() < 2 else gradient.flatten(1)


def _flat(gradients: Gradients) -> Tensor:
    """Join all gradients into one vector."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def _row_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum `1 - cos` over the rows of two matrices `[O, n]`."""
    norms: Tensor = torch.linalg.vector_norm(real, dim=1) * torch.linalg.vector_norm(synthetic, dim=1)
    return (1 - (real * synthetic).sum(1) / (norms + _EPSILON)).sum()
