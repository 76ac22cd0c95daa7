"""Class-collective matching (Lee et al. 2022): the mean of the classes' gradients, where the paper matches each."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from datacondense.matching.class_gradients import parameter_gradients
from datacondense.matching.distances import Gradients
from datacondense.matching.gradients import (
    Objective,
    RealBatch,
    RealTensors,
    distance_of,
    parts_of,
    ranges,
    weighted,
    with_noise,
)
from datacondense.networks.network import Parameters


def class_collective_gradient(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the distance `[1]` of all classes' mean gradients and its gradient `[K, S, C, H, W]`.

    The part of the gradients that is the same for every class cancels in the mean over classes, because the slopes of
    the logits sum to zero: what remains to be matched depends less on the network and more on what tells the classes
    apart. Where not all classes fit into one graph, each group's is built a second time, for the slope of the distance
    depends on all of them. `real_batch` is called once per class, and gives as many images for each where classes are
    taken together.
    """
    classes = len(synthetic)
    real = _mean_real_gradients(objective, parameters, real_batch, classes)
    groups = torch.arange(classes, device=synthetic.device).split(objective.classes_at_once)
    if len(groups) == 1:
        return objective.graphs.replay(
            "class-collective side",
            partial(_pixel_gradient, objective),
            parameters,
            real,
            synthetic,
            groups[0],
        )
    weights = [len(group) / classes for group in groups]
    found = [_mean_gradient(objective, parameters, synthetic[group], group) for group in groups]
    mean = [tensor.requires_grad_() for tensor in weighted(found, weights)]
    value = distance_of(objective, real, mean)
    slopes = torch.autograd.grad(value, mean)
    gradient = torch.empty_like(synthetic)
    for group, weight in zip(groups, weights, strict=True):
        leaf = synthetic[group].detach().requires_grad_()
        again = _mean_gradient(objective, parameters, leaf, group, create_graph=True)
        (gradient[group],) = torch.autograd.grad(again, leaf, [weight * slope for slope in slopes])
    return value.detach()[None], gradient


def _pixel_gradient(
    objective: Objective, parameters: Parameters, real: RealTensors, synthetic: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute distance and gradient with all classes in one graph."""
    leaf = synthetic.detach().requires_grad_()
    value = distance_of(
        objective, real, _mean_gradient(objective, parameters, leaf, labels, create_graph=True)
    )
    return value.detach()[None], torch.autograd.grad(value, leaf)[0]


def _mean_gradient(
    objective: Objective,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    *,
    create_graph: bool = False,
) -> Gradients:
    """Differentiate the mean loss of synthetic images `[G, S, C, H, W]`."""
    each = labels.repeat_interleave(images.shape[1])
    return parameter_gradients(
        objective.model, parameters, objective.compared, images.flatten(0, 1), each, create_graph=create_graph
    )


def _mean_real_gradients(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, classes: int
) -> RealTensors:
    """Differentiate the mean loss of all real images, in as many parts as the transforms need."""
    groups = ranges(0, classes, objective.real_classes_at_once)
    found = [_group_gradients(objective, parameters, real_batch, group) for group in groups]
    weights = [len(group) / classes for group in groups]
    means, parts, perturbed = zip(*found, strict=True)
    averaged = tuple(weighted(same, weights) for same in zip(*parts, strict=True))
    return weighted(means, weights), averaged, weighted(perturbed, weights)


def _group_gradients(
    objective: Objective, parameters: Parameters, real_batch: RealBatch, labels: Sequence[int]
) -> RealTensors:
    """Differentiate the mean loss of some classes' real images in one batch, or in one for each part."""
    divided = [parts_of(objective, real_batch(label)) for label in labels]

    def gradients(batches: Sequence[Tensor]) -> Gradients:
        # One class, the usual case, needs no copy of its images.
        images = batches[0] if len(batches) == 1 else torch.cat(list(batches))
        pairs = zip(batches, labels, strict=True)
        targets = [torch.full((len(batch),), label, device=images.device) for batch, label in pairs]
        return objective.graphs.replay(
            "mean of real images", partial(_real_side, objective), parameters, images, torch.cat(targets)
        )

    parts = [gradients(batches) for batches in zip(*divided, strict=True)]
    sizes = [len(batch) for batch in divided[0]]
    mean = weighted(parts, [size / sum(sizes) for size in sizes])
    noisy = gradients(with_noise(objective, divided, labels)) if objective.wants_noise else []
    return mean, tuple(parts) if noisy or len(parts) > 1 else (), noisy


def _real_side(objective: Objective, parameters: Parameters, images: Tensor, labels: Tensor) -> Gradients:
    return parameter_gradients(objective.real_model, parameters, objective.compared, images, labels)
