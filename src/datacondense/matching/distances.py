"""Distances between two lists of parameter gradients: the paper's layer-wise cosine, and the two it is compared with.

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
    """Compare layer by layer and output unit by output unit (paper, equation 10).

    The gradient of a layer with O outputs is read as O rows, one for all weights that feed one output;
    `sum over layers and rows of (1 - cos(real row, synthetic row))`. A vector (bias, norm parameter) is one row.

    Args:
        real: Gradients for real images, each of its parameter's shape.
        synthetic: Gradients for synthetic images, of the same shapes.

    Returns:
        The distance, a scalar from 0 to twice the number of rows.
    """
    return torch.stack([
        _row_distance(_rows(g), _rows(s)) for g, s in zip(real, synthetic, strict=True)
    ]).sum()


def flat_cosine(real: Gradients, synthetic: Gradients) -> Tensor:
    """Compare the gradients as one vector: `1 - cos(real, synthetic)`.

    Args:
        real: Gradients for real images, each of its parameter's shape.
        synthetic: Gradients for synthetic images, of the same shapes.

    Returns:
        The distance, a scalar from 0 to 2.
    """
    return _row_distance(_flat(real)[None], _flat(synthetic)[None])


def squared(real: Gradients, synthetic: Gradients) -> Tensor:
    """Compare the gradients as one vector: `sum of (real - synthetic)²`.

    Args:
        real: Gradients for real images, each of its parameter's shape.
        synthetic: Gradients for synthetic images, of the same shapes.

    Returns:
        The distance, a scalar from 0.
    """
    return (_flat(real) - _flat(synthetic)).square().sum()


DISTANCES: dict[str, Distance] = {
    "layerwise-cosine": layerwise_cosine,
    "flat-cosine": flat_cosine,
    "squared": squared,
}


def check_distance(distance: str | Distance) -> None:
    """Check a distance as settings give it; nothing is imported.

    Args:
        distance: One of the keys of `DISTANCES`; or the user's own as "package.module:callable" or as the callable.

    Raises:
        InputError: There is no such distance.
    """
    if not isinstance(distance, str) or distance in DISTANCES:
        return
    if ":" not in distance:
        raise InputError(
            f"There is no distance {distance!r}: choose one of {', '.join(DISTANCES)}, or give your own as "
            "package.module:callable."
        )
    check_user_name(distance, "distance")


def distance_named(distance: str | Distance) -> Distance:
    """Return a distance, however it is given.

    Args:
        distance: One of the keys of `DISTANCES`; or the user's own as "package.module:callable" or as the callable
            itself, from the gradients for real and for synthetic images to a scalar.

    Returns:
        The distance.

    Raises:
        InputError: There is no such distance, or it cannot be imported or called.
    """
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
