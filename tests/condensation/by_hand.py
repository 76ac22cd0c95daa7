"""Gradient matching written out: explicit loops for the gradient, torch's optimisers, every generator by its name."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import GradientMatchingConfig, ImageSet, build_network
from datacondense.augment.siamese import apply_siamese, draw_siamese
from datacondense.augment.strategies import augmented
from datacondense.matching import reference
from datacondense.matching.gradients import compared_parameters
from datacondense.matching.pixel_filter import shrink_pixels
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from datacondense.user_code import name_of

SEED = 9
NOISE = 0.1  # deviation of the noise for transforms that rank by sensitivity


def real_batch(train: ImageSet, label: int, size: int, purpose: str, *index: int) -> Tensor:
    """Return normalised real images of one class `[size, C, H, W]` in float64."""
    members, generator = train.class_indices[label], seeded_generator(SEED, purpose, *index, label)
    assert size <= len(members)
    return train.normalised(members[torch.randperm(len(members), generator=generator)[:size]]).double()


def real_batches(train: ImageSet, size: int, purpose: str, *index: int) -> Tensor:
    """Return real images of all classes, class by class `[K·size, C, H, W]`."""
    return torch.cat([real_batch(train, k, size, purpose, *index) for k in range(train.num_classes)])


def fresh_parameters(network: Network, purpose: str, number: int) -> Parameters:
    """Return a network's initial parameters in float64."""
    drawn = network.draw(seeded_generator(SEED, purpose, number))
    return {name: value.double().requires_grad_() for name, value in drawn.items()}


def siamese_view(strategy: str, images: Tensor, purpose: str, *index: int) -> Tensor:
    """Return images of one class after the change that the class has in this step."""
    if strategy == "none":
        return images
    c, h, w = images.shape[1:]
    generator = seeded_generator(SEED, purpose, *index)
    return apply_siamese(draw_siamese(strategy.removeprefix("dsa:"), 1, (c, h, w), generator), images)


def pixel_gradient(
    train: ImageSet,
    config: GradientMatchingConfig,
    network: partial[Tensor],
    parameters: Parameters,
    images: Tensor,
    purpose: str,
    *index: int,
) -> tuple[Tensor, Tensor]:
    """Return the loss of one step and its gradient with respect to all images."""
    K, size = train.num_classes, config.real_batch
    leaf = images.detach().requires_grad_()

    def seen(label: int, own: Tensor) -> Tensor:
        return siamese_view(config.siamese, own, f"{purpose} view", *index, label)

    def perturbed(own: Tensor, label: int) -> Tensor:
        generator = seeded_generator(SEED, f"{purpose} noise", *index, label)
        return own + NOISE * torch.randn(own.shape, generator=generator).double()

    views = torch.stack([seen(k, own) for k, own in enumerate(leaf)])
    distances, gradient = reference.matching_gradient(
        network,
        parameters,
        compared_parameters(parameters, config.compare),
        torch.stack([seen(k, real_batch(train, k, size, purpose, *index)) for k in range(K)]),
        views,
        kind=name_of(config.distance),
        transforms=[name_of(transform) for transform in config.transform],
        perturbed=perturbed,
        joint=config.class_collective,
    )
    (gradient,) = torch.autograd.grad(views, leaf, gradient)
    return distances.sum().detach(), gradient


def probe(
    train: ImageSet, config: GradientMatchingConfig, images: Tensor, network: int, batch: int
) -> Tensor:
    """Return the gradient that a probe of this network and this batch measures."""
    structure = build_network(config.network, train.image_shape, train.num_classes)
    parameters = fresh_parameters(structure, "probe network", network)
    statistics = real_batches(train, 16, "probe statistics", network)
    model = partial(structure, buffers=structure.measure_statistics(parameters, statistics))
    return pixel_gradient(train, config, model, parameters, images, "probe", batch)[1]


def algorithm_1(
    train: ImageSet, config: GradientMatchingConfig, iterations: int
) -> Iterator[tuple[Tensor, float]]:
    """Yield the images `[K, S, C, H, W]` after each step, and its loss."""
    K, ipc = train.num_classes, config.ipc
    assert config.image_lr is not None
    assert config.matching_steps is not None
    network = build_network(config.network, train.image_shape, K)
    if config.start == "real":
        images = torch.stack([real_batch(train, k, ipc, "start") for k in range(K)])
    else:
        generator = seeded_generator(SEED, "start")
        images = torch.randn(K, ipc, *train.image_shape, generator=generator).double()
    images.requires_grad_()
    image_optimiser = torch.optim.SGD([images], lr=config.image_lr, momentum=config.image_momentum)
    moments, steps = None, 0
    for outer in range(iterations):
        parameters = fresh_parameters(network, "network", outer)
        network_optimiser = torch.optim.SGD(
            list(parameters.values()), lr=config.network_lr, momentum=config.network_momentum
        )
        for inner in range(config.matching_steps):
            statistics = real_batches(train, 16, "statistics", outer, inner)
            model = partial(network, buffers=network.measure_statistics(parameters, statistics))
            loss, images.grad = pixel_gradient(train, config, model, parameters, images, "real", outer, inner)
            steps += 1
            if config.shrink_pixels:
                images.grad, moments = shrink_pixels(images.grad, moments, steps)
            image_optimiser.step()
            yield images.detach().clone(), float(loss)
            if inner + 1 < config.matching_steps:
                _train(model, parameters, network_optimiser, images.detach(), config, outer, inner)


def _train(
    model: partial[Tensor],
    parameters: Parameters,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    config: GradientMatchingConfig,
    *index: int,
) -> None:
    """Train the network on the synthetic images, in place."""
    labels, images = torch.arange(len(images)).repeat_interleave(config.ipc), images.flatten(0, 1)
    order, change = (seeded_generator(SEED, purpose, *index) for purpose in ("order", "augmentation"))
    assert config.network_epochs is not None
    for _ in range(config.network_epochs):
        positions = torch.arange(len(images))
        if config.network_batch < len(images):
            positions = torch.randperm(len(images), generator=order)
        for batch in positions.split(config.network_batch):
            inputs = augmented(config.siamese, images[batch], change)
            optimiser.zero_grad()
            F.cross_entropy(model(parameters, inputs), labels[batch]).backward()
            optimiser.step()
