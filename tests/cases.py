"""The table of tiny networks, distances and sets on which fast and obvious computations are held equal."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.network import Parameters

NETWORKS = (
    "mlp",
    "lenet",
    "alexnet",
    "alexnet-bn",
    "vgg11",
    "vgg11-bn",
    "resnet18",
    "resnet18-bn",
    "resnet18-ap",
    "resnet18-bn-ap",
    "alexcifarnet",
    *(f"convnet-w4-d2{norm}" for norm in ("", "-nonorm", "-bn", "-ln", "-gn")),
    *(f"convnet-w4-d2-{activation}" for activation in ("sigmoid", "leaky", "swish")),
    *(f"convnet-w4-d2-{pooling}" for pooling in ("max", "nopool")),
)
"""Every family × norm, and for ConvNet every activation and pooling."""

LARGE = tuple(name for name in NETWORKS if name.startswith(("alexnet", "vgg", "resnet", "alexcifar")))
"""Networks of millions of parameters, of which a test takes fewer combinations."""

FAMILIES = ("alexnet-bn", "vgg11-bn", "resnet18-bn-ap", "alexcifarnet")
"""One of each of these families, with batch norm where it has one: the others take seconds each and are slow tests."""


def logits_and_gradients(function: object, parameters: Parameters, images: Tensor) -> list[Tensor]:
    """Differentiate a loss by images and parameters."""
    assert callable(function)
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    leaf = images.detach().requires_grad_()
    logits = function(leaves, leaf)
    loss = F.cross_entropy(logits, torch.arange(len(images)) % 3)
    return [logits, *torch.autograd.grad(loss, [leaf, *leaves.values()])]
