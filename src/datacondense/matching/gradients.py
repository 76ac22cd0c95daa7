"""Per-class gradients: of the loss with respect to parameters, and of their distance with respect to pixels.

Models come in as functions of (parameters, images), so nothing here holds or changes a network. The images of a class
enter only their own term of the objective (paper, Algorithm 1, line 6), so the pixel gradient is the same whether
classes are taken one by one, a few at once where a stacked network allows it, or all in one graph; memory is that of
the classes taken at once. `reference.py` has the same by explicit loops, and the tests hold all equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.matching.distances import Distance
from datacondense.matching.transforms import Gradients, RealGradients, Transform, transformed
from datacondense.networks import Parameters, StackedNetwork

Model: TypeAlias = Callable[[Parameters, Tensor], Tensor]

_NOISY_SHARE = 1 / 8  # of the real batch, whose gradient is computed once more with noise on the images


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is matched, and how.

    Attributes:
        model: Function from (parameters, images) to logits `[N, K]`, differentiable twice: the synthetic side.
        real_model: The same function, differentiable once, as fast as can be: the real side.
        compared: Names of the parameters whose gradients are compared.
        distance: How two lists of gradients are compared.
        transforms: What is done to both before, in order.
        perturbed: Puts small noise on real images of a class `[N, C, H, W]`, for transforms that want it.
        stacked_model: The same function for many classes in one graph, each with parameters of its own.
        classes_at_once: Classes in one such graph; at 1 `model` is used.
    """

    model: Model
    real_model: Model
    compared: tuple[str, ...]
    distance: Distance
    transforms: tuple[Transform, ...] = ()
    perturbed: Callable[[Tensor, int], Tensor] | None = None
    stacked_model: StackedNetwork | None = None
    classes_at_once: int = 1


def compared_parameters(parameters: Parameters, compare: str = "weights") -> tuple[str, ...]:
    """Choose the parameters whose gradients are compared.

    Args:
        parameters: A network's parameters by name.
        compare: "weights" (the paper's choice: every tensor with two axes or more, so no biases and no
            per-channel norm parameters), "all", or name patterns with `*` separated by commas, such as
            "features.*.weight".

    Returns:
        The chosen names, in the network's order.

    Raises:
        InputError: Nothing is chosen.
    """
    patterns = [pattern.strip() for pattern in compare.split(",")]
    chosen = tuple(
        name
        for name, parameter in parameters.items()
        if compare == "all"
        or (compare == "weights" and parameter.dim() > 1)
        or any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    if not chosen:
        raise InputError(
            f"compare is {compare!r}, which is none of this network's parameters ({', '.join(parameters)}): "
            "give 'weights', 'all' or patterns of those names."
        )
    return chosen


def parameter_gradients(
    model: Model,
    parameters: Parameters,
    compared: Sequence[str],
    images: Tensor,
    label: int,
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Differentiate the mean cross-entropy of one class's images with respect to some parameters.

    Args:
        model: Function from (parameters, images) to logits `[N, K]`, of the images' dtype.
        parameters: All parameters by name.
        compared: Names of those to differentiate; no gradient is computed for the others.
        images: Normalised images of one class `[N, C, H, W]`.
        label: Their class, in 0..K-1.
        create_graph: Whether to keep the graph, so that the gradients can be differentiated again.

    Returns:
        One gradient per name, of its parameter's shape and dtype.
    """
    leaves = {name: parameters[name].detach().requires_grad_() for name in compared}
    labels = torch.full((len(images),), label, device=images.device)
    loss = F.cross_entropy(model({**parameters, **leaves}, images), labels)
    return torch.autograd.grad(loss, list(leaves.values()), create_graph=create_graph)


def real_gradients(objective: Objective, parameters: Parameters, images: Tensor, label: int) -> RealGradients:
    """Differentiate the loss of one class's real images, in as many parts as the transforms ask for.

    Parts cost no second pass: where images do not see each other, the batch's gradient is the mean of theirs.

    Args:
        objective: What is matched, and how.
        parameters: All parameters by name.
        images: Normalised real images of the class `[B, C, H, W]`.
        label: The class, in 0..K-1.

    Returns:
        The gradients.
    """

    def gradients(part: Tensor) -> tuple[Tensor, ...]:
        return parameter_gradients(objective.real_model, parameters, objective.compared, part, label)

    wants_noise = any(transform.wants_noise for transform in objective.transforms)
    number = max((transform.parts for transform in objective.transforms), default=0)
    if number:
        batches = images.tensor_split(number)
    elif wants_noise and len(images) > 1:
        batches = images.tensor_split([ceil(_NOISY_SHARE * len(images))])
    else:
        batches = (images,)
    parts = tuple(gradients(batch) for batch in batches)
    if not wants_noise:
        return RealGradients(_mean(parts, batches), parts)
    assert objective.perturbed is not None
    return RealGradients(_mean(parts, batches), parts, gradients(objective.perturbed(batches[0], label)))


def pixel_gradient(
    objective: Objective, parameters: Parameters, real: Tensor, synthetic: Tensor, label: int
) -> tuple[Tensor, Tensor]:
    """Differentiate the matching distance of one class with respect to its synthetic images (paper, equation 9).

    Args:
        objective: What is matched, and how.
        parameters: All parameters by name.
        real: Normalised real images of the class `[B, C, H, W]`.
        synthetic: Normalised synthetic images of the class `[S, C, H, W]`.
        label: The class, in 0..K-1.

    Returns:
        The distance (a detached scalar) and its gradient `[S, C, H, W]`.
    """
    real_side = real_gradients(objective, parameters, real, label)
    leaf = synthetic.detach().requires_grad_()
    synthetic_gradients = parameter_gradients(
        objective.model, parameters, objective.compared, leaf, label, create_graph=True
    )
    value = _distance(objective, real_side, synthetic_gradients)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def matching_gradient(
    objective: Objective, parameters: Parameters, real_batch: Callable[[int], Tensor], synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    """Differentiate the matching objective, the sum of the classes' distances, with respect to all images.

    Args:
        objective: What is matched, and how.
        parameters: All parameters by name.
        real_batch: Gives the normalised real images `[B, C, H, W]` of a class; called once per class, so that
            no more than one batch need be in memory.
        synthetic: Normalised synthetic images `[K, S, C, H, W]`.

    Returns:
        The distances `[K]` and the gradient `[K, S, C, H, W]`.
    """
    if objective.stacked_model is not None and objective.classes_at_once > 1:
        return _stacked_matching_gradient(
            objective, objective.stacked_model, parameters, real_batch, synthetic
        )
    distances, gradient = [], torch.empty_like(synthetic)
    for label in range(len(synthetic)):
        value, gradient[label] = pixel_gradient(
            objective, parameters, real_batch(label), synthetic[label], label
        )
        distances.append(value)
    return torch.stack(distances), gradient


def _distance(objective: Objective, real: RealGradients, synthetic: Gradients) -> Tensor:
    """Compare what the transforms leave of both sides."""
    pair = transformed(objective.transforms, real, synthetic)
    return objective.distance(pair.real.mean, pair.synthetic)


def _mean(parts: Sequence[Gradients], batches: Sequence[Tensor]) -> Gradients:
    """Average the gradients of sub-batches by their sizes; a single one is left as it is, to the last bit."""
    if len(parts) == 1:
        return parts[0]
    weights = [len(batch) / sum(map(len, batches)) for batch in batches]
    return [
        torch.stack([weight * g for weight, g in zip(weights, tensors, strict=True)]).sum(0)
        for tensors in zip(*parts, strict=True)
    ]


def _stacked_matching_gradient(
    objective: Objective,
    model: StackedNetwork,
    parameters: Parameters,
    real_batch: Callable[[int], Tensor],
    synthetic: Tensor,
) -> tuple[Tensor, Tensor]:
    """Take several classes at once: the same as class by class, in fewer and larger operations."""
    distances, gradient = [], torch.empty_like(synthetic)
    for labels in torch.arange(len(synthetic), device=synthetic.device).split(objective.classes_at_once):
        real = [real_gradients(objective, parameters, real_batch(label), label) for label in labels.tolist()]
        leaf = synthetic[labels].detach().requires_grad_()
        found = _stacked_gradients(model, parameters, objective.compared, leaf, labels)
        # Unbound at once: the gradient of an index is as large as what it indexes, for every class.
        by_class = zip(*(tensor.unbind() for tensor in found), strict=True)
        values = torch.stack([_distance(objective, r, s) for r, s in zip(real, by_class, strict=True)])
        (gradient[labels],) = torch.autograd.grad(values.sum(), leaf)
        distances.append(values.detach())
    return torch.cat(distances), gradient


def _stacked_gradients(
    model: StackedNetwork, parameters: Parameters, compared: Sequence[str], images: Tensor, labels: Tensor
) -> tuple[Tensor, ...]:
    """Differentiate each class's mean loss by its own copy of the parameters: `[classes, *shape]`, graph kept."""
    classes, number = images.shape[:2]
    copies = {name: tensor.detach().expand(classes, *tensor.shape) for name, tensor in parameters.items()}
    leaves = [copies[name].requires_grad_() for name in compared]
    logits = model(copies, images).flatten(0, 1)
    loss = F.cross_entropy(logits, labels.repeat_interleave(number), reduction="sum") / number
    return torch.autograd.grad(loss, leaves, create_graph=True)
