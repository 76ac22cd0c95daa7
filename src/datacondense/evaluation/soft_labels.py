"""Soft labels from a teacher: what a network that was trained on all real images says of a few."""

import hashlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.image_set import ImageSet
from datacondense.settings import is_rate

_BATCH = 500  # images per forward pass


@torch.no_grad()
def teacher_logits(teacher: TrainedNetwork, images: Tensor) -> Tensor:
    """Compute a teacher's logits `[N, K]` of normalised images `[N, C, H, W]`, some hundred at a time."""
    network, parameters, buffers = teacher
    like = next(iter(parameters.values()), images)  # images may be elsewhere, or of another type
    return torch.cat([network(parameters, batch.to(like), buffers) for batch in images.split(_BATCH)])


def check_temperature(temperature: float) -> None:
    """Check that logits can be divided by a temperature."""
    if not is_rate(temperature):
        raise InputError(f"temperature is {temperature}, but must be above 0 and below 3e38.")


def soft_labelled(images: ImageSet, teacher: TrainedNetwork, *, temperature: float = 1.0) -> ImageSet:
    """Label every decoded image of a set with a teacher's distribution over the classes.

    Args:
        images: The set; its class numbers stay.
        teacher: A network trained on images of the same shape and classes, see `load_network`.
        temperature: T: labels are softmax(logits / T), and evaluation trains with the same T.

    Returns:
        The set with soft labels; its provenance names the teacher and T as "soft_labels".

    Raises:
        InputError: The teacher takes other images or has other classes, or T is not above 0.
    """
    check_teacher(teacher, images)
    record = teacher_facts(teacher, temperature)
    logits = teacher_logits(teacher, images.decoded().normalised()).float()
    labels = (logits / temperature).softmax(1).to(images.images.device)
    return replace(images, soft_labels=labels, provenance={**images.provenance, "soft_labels": record})


def check_teacher(teacher: TrainedNetwork, images: ImageSet) -> None:
    """Check that a teacher takes images of a set's shape and knows as many classes."""
    network = teacher.network
    if (network.image_shape, network.num_classes) != (images.image_shape, images.num_classes):
        raise InputError(
            f"The teacher takes images of shape {network.image_shape} of {network.num_classes} classes, but the set "
            f"has {images.image_shape} of {images.num_classes}: give a teacher that was trained on its data set."
        )


def teacher_facts(teacher: TrainedNetwork, temperature: float) -> dict[str, Any]:
    """Return what labels depend on: the teacher's name, sixteen digits of its numbers, and the temperature."""
    check_temperature(temperature)
    digest = hashlib.sha256()
    for tensor in (*teacher.parameters.values(), *teacher.buffers.values()):
        digest.update(tensor.cpu().contiguous().numpy().data)
    fingerprint = digest.hexdigest()[:16]
    return {"teacher": teacher.network.name, "fingerprint": fingerprint, "temperature": temperature}
