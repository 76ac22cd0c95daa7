"""Per-class gradients: of the loss with respect to parameters, and of their distance with respect to pixels.

Models come in as functions of (parameters, images), so nothing here holds or changes a network. The images of a class
enter only their own term of the objective (paper, Algorithm 1, line 6), so the pixel gradient is the same whether
classes are taken one by one, or as many at once as memory allows, their gradients out of one pass (`class_gradients`).
`reference.py` has the same by explicit loops, and the tests hold all equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from math import ceil
from typing import TypeAlias

import torch
from torch import Tensor

from datacondense.cuda_graphs import CudaGraphs
from datacondense.errors import InputError
from datacondense.matching.class_gradients import Model, class_gradients, parameter_gradients
from datacondense.matching.distances import DISTANCES, Distance, Gradients
from datacondense.matching.transforms import RealGradients, Transform, transformed
from datacondense.networks.network import Parameters

RealBatch: TypeAlias = Callable[[int], Tensor]
RealTensors: TypeAlias = tuple[Gradients, tuple[Gradients, ...], Gradients]
"""Real gradients as functions take them that may be captured: no tensors in place of what is not needed."""

_MATRIX = 2  # axes of a linear layer's weights
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
        shares_pass: Whether the gradients of `model` come apart by class, see `obstacle`.
        real_shares_pass: Whether those of `real_model` do.
        classes_at_once: Classes whose synthetic images are in one graph.
        real_classes_at_once: Classes whose real images are differentiated together.
        graphs: What captures the work for one group of classes, where the device captures.
    """

    model: Model
    real_model: Model
    compared: tuple[str, ...]
    distance: Distance
    transforms: tuple[Transform, ...] = ()
    perturbed: Callable[[Tensor, int], Tensor] | None = None
    shares_pass: bool = False
    real_shares_pass: bool = False
    classes_at_once: int = 1
    real_classes_at_once: int = 1
    graphs: CudaGraphs = field(default_factory=partial(CudaGraphs, "cpu"))

    @property
    def parts(self) -> int:
        """Sub-batches of the real batch whose gradients a transform needs; 0 where none does."""
        return max((transform.parts for transform in self.transforms), default=0)

    @property
    def wants_noise(self) -> bool:
        """Whether a transform needs the gradient of real images with noise."""
        return any(transform.wants_noise for transform in self.transforms)

    @property
    def is_vectorised(self) -> bool:
        """Whether `torch.vmap` may compare all classes at once, which a user's own functions are not asked for."""
        return self.distance in DISTANCES.values() and all(each.vectorised for each in self.transforms)


def compared_parameters(parameters: Parameters, compare: str = "weights") -> tuple[str, ...]:
    """Return the names that `compare` selects, such as "weights" (two axes or more), or patterns with `*`."""
    patterns = [pattern.strip() for pattern in compare.split(",")]
    selected = tuple(
        name
        for name, parameter in parameters.items()
        if compare == "all"
        or (compare == "weights" and parameter.dim() > 1)
        or (compare == "convolutions" and parameter.dim() > _MATRIX)
        or any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    if not selected:
        raise InputError(
            f"compare is {compare!r}, which is none of this network's parameters ({', '.join(parameters)}): "
            "give 'weights', 'convolutions', 'all' or patterns of those names."
        )
    return selected


def matching_gradient(
    objective: Objective,
    parameters: Parameters,
    real_batch: RealBatch,
    synthetic: Tensor,
    sizes: Sequence[int] | None = None,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the distances `[K]` (paper, equation 9), and the gradient of their sum in all images `[K, S, C, H, W]`.

    `real_batch` gives the normalised images `[B, C, H, W]` of a class and is called once per class, so that no more
    need be in memory than are differentiated together. Of each class the first images are used where `sizes` says so.
    The K classes may be some of all: those that follow each other from `first` on.
    """
    stop = first + len(synthetic)
    labels = torch.arange(stop, device=synthetic.device)
    sizes = [synthetic.shape[1]] * len(synthetic) if sizes is None else sizes
    values, gradients = [], []
    for group in ranges(first, stop, objective.classes_at_once):
        real = _real_by_class(objective, parameters, real_batch, labels, group)
        own = slice(group.start - first, group.stop - first)
        used = tuple(sizes[own])
        value, gradient = objective.graphs.replay(
            ("synthetic side", used),
            partial(_pixel_gradients, objective, used),
            parameters,
            real,
            synthetic[own],
            labels[group.start : group.stop],
        )
        values.append(value)
        gradients.append(gradient)
    return torch.cat(values), torch.cat(gradients)


def used_images(images: Tensor, sizes: Sequence[int]) -> Tensor:
    """Join the first images of each class of `[K, S, C, H, W]` into one batch `[N, C, H, W]`."""
    if min(sizes) == images.shape[1]:
        return images.flatten(0, 1)
    return torch.cat([own[:size] for own, size in zip(images, sizes, strict=True)])


def distance_of(objective: Objective, real: RealTensors, synthetic: Gradients) -> Tensor:
    """Compare both sides after the transforms."""
    mean, parts, perturbed = real
    pair = transformed(objective.transforms, RealGradients(mean, parts, perturbed or None), synthetic)
    return objective.distance(pair.real.mean, pair.synthetic)


def parts_of(objective: Objective, images: Tensor) -> Sequence[Tensor]:
    """Divide the real images of a class as the transforms need it; the first part gets the noise."""
    if objective.parts:
        return images.tensor_split(objective.parts)
    if objective.wants_noise and len(images) > 1:
        return images.tensor_split([ceil(_NOISY_SHARE * len(images))])
    return (images,)


def with_noise(
    objective: Objective, divided: Sequence[Sequence[Tensor]], labels: Sequence[int]
) -> list[Tensor]:
    """Put noise on the first part of each class, where a transform needs it."""
    if not objective.wants_noise:
        return []
    assert objective.perturbed is not None
    return [objective.perturbed(parts[0], label) for parts, label in zip(divided, labels, strict=True)]


def weighted(found: Sequence[Gradients], weights: Sequence[float]) -> Gradients:
    """Average gradients; a single one stays as it is, to the last bit."""
    if len(found) == 1:
        return found[0]
    return [
        torch.stack([weight * g for weight, g in zip(weights, tensors, strict=True)]).sum(0)
        for tensors in zip(*found, strict=True)
    ]


def ranges(start: int, stop: int, size: int) -> list[range]:
    """Divide a range into ranges of a size, the last of which may be shorter."""
    return [range(first, min(first + size, stop)) for first in range(start, stop, size)]


def _real_by_class(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, labels: Tensor, classes: range
) -> RealTensors:
    """Differentiate the mean loss of each of some classes' real images; every tensor is `[G, *shape]`."""
    found = []
    for group in ranges(classes.start, classes.stop, objective.real_classes_at_once):
        divided = [parts_of(objective, real_batch(label)) for label in group]
        sizes = tuple(tuple(map(len, parts)) for parts in divided)
        images = [torch.cat([part for parts in divided for part in parts])]
        images += with_noise(objective, divided, group)
        found.append(
            objective.graphs.replay(
                ("real side", sizes),
                partial(_real_side, objective, sizes),
                parameters,
                images,
                labels[group.start : group.stop],
            )
        )
    return found[0] if len(found) == 1 else _joined(found)


def _joined(found: Sequence[RealTensors]) -> RealTensors:
    """Join the gradients of groups of classes along their first axis."""

    def joined(groups: Sequence[Gradients]) -> Gradients:
        return [torch.cat(tensors) for tensors in zip(*groups, strict=True)]

    means, parts, perturbed = zip(*found, strict=True)
    return joined(means), tuple(joined(same) for same in zip(*parts, strict=True)), joined(perturbed)


def _real_side(
    objective: Objective,
    sizes: tuple[tuple[int, ...], ...],
    parameters: Parameters,
    images: Sequence[Tensor],
    labels: Tensor,
) -> RealTensors:
    """Differentiate the parts of each class, out of whose gradients the class's own is made: no second pass.

    Images are those of all parts, and with noise those of every first part.
    """
    counts = list(map(len, sizes))
    gradients = partial(_by_class, objective, parameters, real=True)
    owners = torch.cat([label.expand(number) for label, number in zip(labels, counts, strict=True)])
    found = gradients(images[0], owners, [size for own in sizes for size in own])
    # Per class and part, then the class's own; where only noise divides a batch, its part alone is looked at.
    divided = [
        list(zip(*own, strict=True)) for own in zip(*(tensor.split(counts) for tensor in found), strict=True)
    ]
    mean = found
    if max(counts) > 1:
        shares = [[size / sum(own) for size in own] for own in sizes]
        mean = _stacked([weighted(parts, share) for parts, share in zip(divided, shares, strict=True)])
    kept = range(objective.parts or int(objective.wants_noise))
    parts = tuple(_stacked([own[part] for own in divided]) for part in kept)
    firsts = [own[0] for own in sizes]
    return mean, parts, gradients(torch.cat(list(images[1:])), labels, firsts) if len(images) > 1 else []


def _by_class(
    objective: Objective,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    sizes: Sequence[int],
    *,
    real: bool,
) -> Gradients:
    """Differentiate the mean loss of each group of images, in one pass where the model allows it: `[G, *shape]`."""
    model = objective.real_model if real else objective.model
    shares_pass = objective.real_shares_pass if real else objective.shares_pass
    given = (model, parameters, objective.compared)
    if shares_pass and len(sizes) > 1:
        return class_gradients(*given, images, labels, sizes, create_graph=not real)
    return _stacked([
        parameter_gradients(*given, own, label.expand(len(own)), create_graph=not real)
        for own, label in zip(images.split(list(sizes)), labels, strict=True)
    ])


def _stacked(found: Sequence[Gradients]) -> Gradients:
    """Stack the gradients of classes `[G, *shape]`: a view of a single one."""
    return [
        torch.stack(tensors) if len(tensors) > 1 else tensors[0][None] for tensors in zip(*found, strict=True)
    ]


def _pixel_gradients(
    objective: Objective,
    sizes: Sequence[int],
    parameters: Parameters,
    real: RealTensors,
    synthetic: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the distances of some classes `[G]` and their gradients in the images `[G, S, C, H, W]`."""
    leaf = synthetic.detach().requires_grad_()
    found = _by_class(objective, parameters, used_images(leaf, sizes), labels, sizes, real=False)
    values = _distances(objective, real, found)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def _distances(objective: Objective, real: RealTensors, synthetic: Gradients) -> Tensor:
    """Compare both sides of each class, all at once where nothing of it is the user's own: `[G]`."""
    compare = partial(distance_of, objective)
    if objective.is_vectorised and len(synthetic[0]) > 1:
        values: Tensor = torch.vmap(compare)(real, list(synthetic))
        return values
    mean, parts, perturbed = real
    # Unbound at once: the gradient of an index is as large as what it indexes, for every class.
    by_class = zip(*(tensor.unbind() for tensor in synthetic), strict=True)
    return torch.stack([
        compare((_of(mean, k), tuple(_of(part, k) for part in parts), _of(perturbed, k)), own)
        for k, own in enumerate(by_class)
    ])


def _of(gradients: Gradients, k: int) -> list[Tensor]:
    return [tensor[k] for tensor in gradients]
