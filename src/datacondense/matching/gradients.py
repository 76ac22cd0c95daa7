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
from datacondense.matching.distances import Distance, Gradients
from datacondense.matching.transforms import RealGradients, Transform, transformed
from datacondense.networks.network import Parameters
from datacondense.networks.stacked import StackedNetwork

Model: TypeAlias = Callable[[Parameters, Tensor], Tensor]
RealBatch: TypeAlias = Callable[[int], Tensor]

_NOISY_SHARE = 1 / 8  # of the real batch, whose gradient is computed once more with noise on the images


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What gradients are compared, and how.

    Attributes:
        model: Function from (parameters, images) to logits `[N, K]`, differentiable twice: the synthetic side.
        real_model: The same function, differentiable once and faster: the real side.
        compared: Names of the parameters whose gradients are compared.
        distance: How two lists of gradients are compared.
        transforms: Transforms of both before, in order.
        perturbed: Puts small noise on real images of a class `[N, C, H, W]`, for transforms that need it.
        stacked_model: The same function for many classes in one graph, each with parameters of its own.
        classes_at_once: Classes in one such graph; at 1 `model` is used.
        real_classes_at_once: Classes whose real images are differentiated together where only their mean is wanted.
    """

    model: Model
    real_model: Model
    compared: tuple[str, ...]
    distance: Distance
    transforms: tuple[Transform, ...] = ()
    perturbed: Callable[[Tensor, int], Tensor] | None = None
    stacked_model: StackedNetwork | None = None
    classes_at_once: int = 1
    real_classes_at_once: int = 1


def compared_parameters(parameters: Parameters, compare: str = "weights") -> tuple[str, ...]:
    """Return the names that `compare` selects: "weights" (two axes or more), "all", or patterns with `*`."""
    patterns = [pattern.strip() for pattern in compare.split(",")]
    selected = tuple(
        name
        for name, parameter in parameters.items()
        if compare == "all"
        or (compare == "weights" and parameter.dim() > 1)
        or any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    if not selected:
        raise InputError(
            f"compare is {compare!r}, which is none of this network's parameters ({', '.join(parameters)}): "
            "give 'weights', 'all' or patterns of those names."
        )
    return selected


def parameter_gradients(
    model: Model,
    parameters: Parameters,
    compared: Sequence[str],
    images: Tensor,
    labels: int | Tensor,
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Return the gradient of the mean cross-entropy of images `[N, C, H, W]` for each compared parameter.

    `labels` are their classes `[N]`, or one for all. With `create_graph` the gradients can be differentiated again.
    """
    leaves = {name: parameters[name].detach().requires_grad_() for name in compared}
    if not isinstance(labels, Tensor):
        labels = torch.full((len(images),), labels, device=images.device)
    loss = F.cross_entropy(model({**parameters, **leaves}, images), labels)
    return torch.autograd.grad(loss, list(leaves.values()), create_graph=create_graph)


def real_gradients(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, labels: Sequence[int]
) -> RealGradients:
    """Return the gradients of the mean loss of real images of some classes, in as many parts as the transforms need.

    `real_batch` gives the normalised images `[B, C, H, W]` of a class, as many for each where classes are taken
    together, and is called once per class. Parts cost no second pass: where images do not see each other, the batch's
    gradient is the mean of theirs.
    """
    groups = [
        labels[start : start + objective.real_classes_at_once]
        for start in range(0, len(labels), objective.real_classes_at_once)
    ]
    found = [_group_gradients(objective, parameters, real_batch, group) for group in groups]
    weights = [len(group) / len(labels) for group in groups]
    noisy = [each.perturbed for each in found if each.perturbed is not None]
    return RealGradients(
        _weighted([each.mean for each in found], weights),
        tuple(_weighted(same, weights) for same in zip(*(each.parts for each in found), strict=True)),
        _weighted(noisy, weights) if noisy else None,
    )


def pixel_gradient(
    objective: Objective, parameters: Parameters, real: Tensor, synthetic: Tensor, label: int
) -> tuple[Tensor, Tensor]:
    """Compute the distance of one class and its gradient `[S, C, H, W]` in its images (paper, equation 9)."""
    real_side = real_gradients(objective, parameters, lambda _: real, [label])
    leaf = synthetic.detach().requires_grad_()
    synthetic_gradients = parameter_gradients(
        objective.model, parameters, objective.compared, leaf, label, create_graph=True
    )
    value = _distance(objective, real_side, synthetic_gradients)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def matching_gradient(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the distances `[K]`, and the gradient of their sum with respect to all synthetic images `[K, S, C, H, W]`.

    `real_batch` is called once per class, so that no more than one batch need be in memory.
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


def class_collective_gradient(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the distance `[1]` of all classes' mean gradients (Lee et al. 2022) and its gradient `[K, S, C, H, W]`.

    The part of the gradients that is the same for every class cancels in the mean over classes, because the slopes of
    the logits sum to zero: what remains to be matched depends less on the network and more on what tells the classes
    apart. Where not all classes fit into one graph, each group's is built a second time, for the slope of the distance
    depends on all of them.
    """
    classes, number = synthetic.shape[:2]
    real = real_gradients(objective, parameters, real_batch, range(classes))
    groups = torch.arange(classes, device=synthetic.device).split(max(1, objective.classes_at_once))
    weights = [len(group) / classes for group in groups]

    def gradients(images: Tensor, group: Tensor, *, create_graph: bool) -> tuple[Tensor, ...]:
        labels = group.repeat_interleave(number)
        return parameter_gradients(
            objective.model,
            parameters,
            objective.compared,
            images.flatten(0, 1),
            labels,
            create_graph=create_graph,
        )

    if len(groups) == 1:
        leaf = synthetic.detach().requires_grad_()
        value = _distance(objective, real, gradients(leaf, groups[0], create_graph=True))
        return value.detach()[None], torch.autograd.grad(value, leaf)[0]
    found = [gradients(synthetic[group], group, create_graph=False) for group in groups]
    mean = [tensor.requires_grad_() for tensor in _weighted(found, weights)]
    value = _distance(objective, real, mean)
    slopes = torch.autograd.grad(value, mean)
    gradient = torch.empty_like(synthetic)
    for group, weight in zip(groups, weights, strict=True):
        leaf = synthetic[group].detach().requires_grad_()
        again = gradients(leaf, group, create_graph=True)
        (gradient[group],) = torch.autograd.grad(again, leaf, [weight * slope for slope in slopes])
    return value.detach()[None], gradient


def _group_gradients(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, labels: Sequence[int]
) -> RealGradients:
    """Differentiate the mean loss of some classes' real images in one batch, or in one for each part."""
    wants_noise = any(transform.wants_noise for transform in objective.transforms)
    number = max((transform.parts for transform in objective.transforms), default=0)
    divided = [_divided(real_batch(label), number, wants_noise=wants_noise) for label in labels]

    def gradients(batches: Sequence[Tensor]) -> Gradients:
        target: int | Tensor
        # One class, the usual case, needs no copy: neither of its images nor of labels to their device.
        if len(labels) == 1:
            images, target = batches[0], labels[0]
        else:
            images = torch.cat(list(batches))
            sizes = torch.tensor([len(batch) for batch in batches])
            target = torch.tensor(labels).repeat_interleave(sizes).to(images.device)
        return parameter_gradients(objective.real_model, parameters, objective.compared, images, target)

    parts = [gradients(batches) for batches in zip(*divided, strict=True)]
    sizes = [len(batch) for batch in divided[0]]
    mean = _weighted(parts, [size / sum(sizes) for size in sizes])
    if not wants_noise:
        return RealGradients(mean, tuple(parts) if number else ())
    perturb = objective.perturbed
    assert perturb is not None
    noisy = gradients([perturb(batches[0], label) for batches, label in zip(divided, labels, strict=True)])
    return RealGradients(mean, tuple(parts), noisy)


def _divided(images: Tensor, number: int, *, wants_noise: bool) -> Sequence[Tensor]:
    """Divide the real images of a class into sub-batches, the first of which gets the noise."""
    if number:
        return images.tensor_split(number)
    if wants_noise and len(images) > 1:
        return images.tensor_split([ceil(_NOISY_SHARE * len(images))])
    return (images,)


def _distance(objective: Objective, real: RealGradients, synthetic: Gradients) -> Tensor:
    """Compare both sides after the transforms."""
    pair = transformed(objective.transforms, real, synthetic)
    return objective.distance(pair.real.mean, pair.synthetic)


def _weighted(found: Sequence[Gradients], weights: Sequence[float]) -> Gradients:
    """Average gradients; a single one stays as it is, to the last bit."""
    if len(found) == 1:
        return found[0]
    return [
        torch.stack([weight * g for weight, g in zip(weights, tensors, strict=True)]).sum(0)
        for tensors in zip(*found, strict=True)
    ]


def _stacked_matching_gradient(
    objective: Objective,
    model: StackedNetwork,
    parameters: Parameters,
    real_batch: RealBatch,
    synthetic: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute several classes at once: the same as class by class, in fewer and larger operations."""
    distances, gradient = [], torch.empty_like(synthetic)
    for labels in torch.arange(len(synthetic), device=synthetic.device).split(objective.classes_at_once):
        real = [real_gradients(objective, parameters, real_batch, [label]) for label in labels.tolist()]
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
