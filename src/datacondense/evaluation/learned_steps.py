"""Training by the few steps, each with a learning rate of its own, that Dataset Distillation learns with its images."""

from collections.abc import Mapping
from typing import Any

import torch

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.fused import NetworkFunction
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator
from datacondense.training import SGD, train, zero_velocity


def train_by_learned_steps(
    network: Network, model: NetworkFunction, images: ImageSet, seed: int, repeat: int, dtype: torch.dtype
) -> Parameters:
    """Train a network as a distilled set says: its steps in their order, in each epoch again, without momentum.

    Args:
        network: The structure.
        model: The same, or its faster form.
        images: The set, class by class, with as many images for each; its record holds the learned rates.
        seed: Seed of the fresh networks; a set that was learned for one network is trained on that one.
        repeat: Number of the network.
        dtype: Of the computation.

    Returns:
        The trained parameters.

    Raises:
        InputError: The set has no learned steps.
    """
    settings, rates = (
        images.provenance.get("settings", {}),
        images.provenance.get("learned", {}).get("step_lrs"),
    )
    if rates is None:
        raise InputError(
            "learned_steps is asked for, but the set has no learned learning rates: only sets of dataset-distillation "
            "have them; leave it out for others."
        )
    drawn = _drawn(network, images.provenance, seed, repeat)
    device = images.images.device
    parameters = moved(drawn, device, dtype)
    buffers = moved(network.buffers(), device, dtype)
    inputs = images.normalised().to(dtype).unflatten(0, (images.num_classes, -1))
    labels = torch.arange(images.num_classes, device=device).repeat_interleave(settings["images_per_step"])
    batches = [part.flatten(0, 1) for part in inputs.split(settings["images_per_step"], dim=1)]
    for batch, lr in zip(batches * settings["inner_epochs"], rates, strict=True):
        parameters, _ = train(
            lambda parameters, images: model(parameters, images, buffers),
            parameters,
            zero_velocity(parameters),
            batch,
            labels,
            sgd=SGD(lr=lr, batch_size=len(batch)),
            epochs=1,
            generator=seeded_generator(seed, "no order", repeat),  # one batch has none
        )
    return parameters


def distilled_parameters(network: Network, seed: int) -> Parameters:
    """Draw the one network that Dataset Distillation learns for where its network is fixed.

    Args:
        network: Its structure.
        seed: Seed of the run that learned the set.

    Returns:
        float32 CPU tensors by name.
    """
    return network.draw(seeded_generator(seed, "network", 0))


def _drawn(network: Network, record: Mapping[str, Any], seed: int, repeat: int) -> Parameters:
    """Draw a fresh network, or the one that the set was learned for."""
    if record["settings"].get("fixed_network"):
        return distilled_parameters(network, record["run"]["seed"])
    return network.draw(seeded_generator(seed, "evaluation network", repeat))
