"""The matching objective by explicit loops: slow, obvious, and the truth in the tests of the fast path.

Nothing here is shared with `gradients.py` or `distances.py` on purpose. Images are taken one at a time, layers one
at a time, output units one at a time, and all classes stay in one graph until a single backward pass.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_EPSILON = 1e-6


def mean_gradients(
    model: Callable[[dict[str, Tensor], Tensor], Tensor],
    parameters: dict[str, Tensor],
    compared: Sequence[str],
    images: Tensor,
    label: int,
) -> list[Tensor]:
    """Average the loss gradients of single images; valid where images do not see each other (no live BatchNorm).

    Args:
        model: Function from (parameters, images) to logits `[N, K]`.
        parameters: All parameters by name, those compared requiring gradients.
        compared: Names of the parameters to differentiate.
        images: Normalised images of one class `[N, C, H, W]`.
        label: Their class.

    Returns:
        One gradient per name, its graph kept.
    """
    sums = [torch.zeros_like(parameters[name]) for name in compared]
    for image in images:
        logits = model(parameters, image[None])[0]
        loss = torch.logsumexp(logits, 0) - logits[label]
        gradients = torch.autograd.grad(loss, [parameters[name] for name in compared], create_graph=True)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
    return [total / len(images) for total in sums]


def distance(kind: str, real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Compare two lists of gradients number by number.

    Args:
        kind: "layerwise-cosine", "flat-cosine" or "squared".
        real: Gradients for real images.
        synthetic: Gradients for synthetic images.

    Returns:
        The distance, a scalar.
    """
    total = real[0].new_zeros(())
    if kind == "squared":
        for g, s in zip(real, synthetic, strict=True):
            total = total + ((g - s) ** 2).sum()
        return total
    if kind == "flat-cosine":
        return _one_minus_cosine(real, synthetic)
    for g, s in zip(real, synthetic, strict=True):
        units = [(g, s)] if g.dim() == 1 else zip(g, s, strict=True)
        for g_unit, s_unit in units:
            total = total + _one_minus_cosine([g_unit], [s_unit])
    return total


def matching_gradient(
    model: Callable[[dict[str, Tensor], Tensor], Tensor],
    parameters: dict[str, Tensor],
    compared: Sequence[str],
    real: Tensor,
    synthetic: Tensor,
    *,
    kind: str,
) -> tuple[Tensor, Tensor]:
    """Differentiate the summed distances of all classes at once.

    Args:
        model: Function from (parameters, images) to logits `[N, K]`.
        parameters: All parameters by name.
        compared: Names of those whose gradients are compared.
        real: Normalised real images `[K, B, C, H, W]`.
        synthetic: Normalised synthetic images `[K, S, C, H, W]`.
        kind: The name of the distance.

    Returns:
        The distances `[K]` and the gradient `[K, S, C, H, W]`.
    """
    parameters = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    leaf = synthetic.detach().requires_grad_()
    distances = []
    for label in range(len(synthetic)):
        real_gradients = mean_gradients(model, parameters, compared, real[label], label)
        synthetic_gradients = mean_gradients(model, parameters, compared, leaf[label], label)
        distances.append(distance(kind, [g.detach() for g in real_gradients], synthetic_gradients))
    values = torch.stack(distances)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def _one_minus_cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Compute `1 - <g, s> / (|g| |s| + epsilon)` of two vectors given in parts."""
    dot = sum(((g * s).sum() for g, s in zip(real, synthetic, strict=True)), start=real[0].new_zeros(()))
    real_square = sum(((g**2).sum() for g in real), start=real[0].new_zeros(()))
    synthetic_square = sum(((s**2).sum() for s in synthetic), start=real[0].new_zeros(()))
    return 1 - dot / (_root(real_square) * _root(synthetic_square) + _EPSILON)


def _root(square: Tensor) -> Tensor:
    """Take the root; a dead unit's is 0 with slope 0, where the formula's slope would be infinite."""
    return square.sqrt() if float(square.detach()) > 0 else square
