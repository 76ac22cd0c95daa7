"""Training by the few steps, each with a learning rate of its own, that Dataset Distillation learns with its images."""

import torch

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.backend import NetworkFunction
from datacondense.networks.initial_values import with_xavier_values
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator
from datacondense.training import SGD, TrainState, train


def train_by_learned_steps(
    network: Network, model: NetworkFunction, images: ImageSet, seed: int, repeat: int, dtype: torch.dtype
) -> Parameters:
    """Train a network as a distilled set says: its steps in order, in each epoch again, without momentum."""
    provenance = images.provenance
    settings, rates = provenance.get("settings", {}), provenance.get("learned", {}).get("step_lrs")
    if rates is None:
        raise InputError(
            "learned_steps is on, but the set has no learned learning rates: only sets of dataset-distillation have "
            "them; leave it out for others."
        )
    size, epochs = settings.get("images_per_step", 0), settings.get("inner_epochs", 0)
    steps = epochs * (len(images) // max(1, images.num_classes * size))
    if len(set(images.class_sizes)) > 1 or steps == 0 or len(rates) != steps:
        raise InputError(
            f"The set says {len(rates)} learned steps, but {len(images)} images in steps of {size} of each class and "
            f"{epochs} epochs make {steps}: it is damaged; copy it again or create it anew."
        )
    if settings.get("initial_values") == "xavier":
        network = with_xavier_values(network)
    if settings.get("fixed_network"):
        drawn = distilled_parameters(network, provenance["run"]["seed"])
    else:
        drawn = network.draw(seeded_generator(seed, "evaluation network", repeat))
    device = images.images.device
    parameters, buffers = (moved(tensors, device, dtype) for tensors in (drawn, network.buffers()))
    shown, soft, size = images.decoded(), images.soft_labels, size * images.factor**2
    batches = [
        [part.flatten(0, 1) for part in tensor.unflatten(0, (images.num_classes, -1)).split(size, dim=1)]
        for tensor in (shown.normalised().to(dtype), shown.labels if soft is None else soft.to(dtype))
    ]
    for batch, labels, lr in zip(*(parts * epochs for parts in batches), rates, strict=True):
        sgd = SGD(lr=lr, batch_size=len(batch))
        parameters = train(
            lambda parameters, images: model(parameters, images, buffers),
            TrainState.begun(parameters),
            batch,
            labels,
            epochs=1,
            sgd=lambda _, sgd=sgd: sgd,  # type: ignore[misc]
        ).parameters
    return parameters


def distilled_parameters(network: Network, seed: int) -> Parameters:
    """Draw the one network that Dataset Distillation learns for where its network is fixed."""
    return network.draw(seeded_generator(seed, "network", 0))
