"""Knowledge distillation: a network goes on without forgetting what an earlier one, the teacher, has learned."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.networks.backend import NetworkFunction
from datacondense.networks.network import Parameters
from datacondense.settings import is_rate
from datacondense.training import Loss, Model


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How strongly a network is held to its teacher (Hinton et al. 2015; Castro et al. 2018, section 3.2).

    Attributes:
        temperature: What logits are divided by before softmax; above 1 small probabilities count more.
        distillation_weight: Weight of the distillation loss beside the cross-entropy.
    """

    temperature: float = 2.0
    distillation_weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("temperature", "distillation_weight"):
            if not is_rate(getattr(self, name)):
                raise InputError(
                    f"{name} is {getattr(self, name)}, but must be a number above 0 and below 3e38."
                )


def distillation_loss(
    config: DistillationConfig, num_classes: int, old_only: bool, outputs: Tensor, labels: Tensor
) -> Tensor:
    """Compute cross-entropy plus distillation, both means over the batch.

    The distillation of an image is `T² · -Σ_k p_k log q_k`, where p and q are the softmax of the teacher's and the
    network's logits over the teacher's K' classes, divided by the temperature T. The factor keeps its gradients of the
    size that they have at T = 1.

    Args:
        config: Temperature and weight.
        num_classes: The network's classes K, the teacher's first.
        old_only: Whether images are distilled as far only as their labels are of classes that the teacher knows.
        outputs: Logits of the network and, after them, of the teacher, `[B, K + K']`.
        labels: Class numbers `[B]`, or distributions `[B, K]`.

    Returns:
        The loss, a scalar.
    """
    logits, taught = outputs[:, :num_classes], outputs[:, num_classes:]
    known, heat = taught.shape[1], config.temperature
    soft = F.softmax(taught / heat, dim=1)
    each = F.cross_entropy(logits[:, :known] / heat, soft, reduction="none")
    if old_only:
        each = each * (labels < known if labels.dim() == 1 else labels[:, :known].sum(1))
    return F.cross_entropy(logits, labels) + config.distillation_weight * heat**2 * each.mean()


def distilling(
    model: Model,
    teacher: NetworkFunction,
    numbers: tuple[Parameters, Parameters],
    config: DistillationConfig,
    *,
    num_classes: int,
    old_only: bool,
) -> tuple[Model, Loss]:
    """Return model and loss with which a network learns from labels and from its teacher.

    Args:
        model: The network in training, with `num_classes` outputs.
        teacher: The frozen network, whose classes are the first of these.
        numbers: The teacher's parameters and buffers.
        config: Temperature and weight.
        num_classes: The network's classes.
        old_only: Whether only images of the teacher's classes are distilled.

    Returns:
        A model that gives logits of both networks side by side, and the loss of these.
    """
    return (
        partial(_side_by_side, model, teacher, numbers),
        partial(distillation_loss, config, num_classes, old_only),
    )


def _side_by_side(
    model: Model,
    teacher: NetworkFunction,
    numbers: tuple[Parameters, Parameters],
    parameters: Parameters,
    images: Tensor,
    *buffers: Parameters,
) -> Tensor:
    """Compute the logits `[B, K + K']` of a network and its teacher."""
    logits = model(parameters, images, *buffers)
    with torch.no_grad():
        taught = teacher(numbers[0], images, numbers[1])
    return torch.cat([logits, taught], dim=1)


def grown(trained: Parameters, fresh: Parameters) -> Parameters:
    """Return the numbers of a network that learns more classes than before.

    Args:
        trained: Parameters of the smaller network.
        fresh: Freshly drawn parameters of the larger one.

    Returns:
        The trained numbers; where the classes make a tensor's first axis longer, the fresh ones follow.

    Raises:
        InputError: The two networks differ in more than their classes.
    """
    if {name: tensor.shape[1:] for name, tensor in trained.items()} != {
        name: tensor.shape[1:] for name, tensor in fresh.items()
    }:
        raise InputError(
            "The network has other layers for more classes, so that it cannot go on with what it has learned: let "
            "only the first axis of its last layer depend on the number of classes."
        )
    return {
        name: torch.cat([tensor, fresh[name][len(tensor) :]]) if tensor.dim() else tensor
        for name, tensor in trained.items()
    }
