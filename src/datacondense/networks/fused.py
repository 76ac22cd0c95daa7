"""The same networks, faster, where derivatives of first order are enough: fused layers and lower precision.

Matching differentiates the synthetic side twice, which only torch's own layers can do. Everything else (gradients for
real images, the network's training, evaluation) is differentiated once or not at all and can take the models made here:
functions of the same arguments with the same values up to rounding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from datacondense.errors import InputError
from datacondense.kernels import CHANNEL_BLOCK, UnavailableError, library, norm_relu_pool
from datacondense.networks.network import Network, Parameters

Stage: TypeAlias = Callable[[Parameters, Tensor], Tensor]

# Layers that depend on nothing but parameters and input; among others there is no telling.
_PLAIN = (
    nn.AvgPool2d,
    nn.Conv2d,
    nn.Flatten,
    nn.GroupNorm,
    nn.LeakyReLU,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
    nn.Sigmoid,
    nn.SiLU,
)


class NetworkFunction(Protocol):
    """What a network and its faster forms have in common."""

    def __call__(
        self,
        parameters: Parameters,
        images: Tensor,
        buffers: Parameters | None = None,
        *,
        training: bool = False,
    ) -> Tensor:
        """Compute logits `[N, K]`, see `Network`."""


def choose_engine(network: Network, device: torch.device | str, precision: str, engine: str = "auto") -> str:
    """Settle which engine computes what is differentiated once.

    Args:
        network: The network.
        device: Where it runs.
        precision: "float64", "float32" or "bfloat16".
        engine: "auto" (fused where that is possible), "fused" or "eager".

    Returns:
        "fused" or "eager".

    Raises:
        InputError: "fused" is asked for and impossible; the sentence says why.
    """
    if engine == "eager":
        return engine
    obstacle = _obstacle(network, torch.device(device), precision)
    if obstacle is None:
        return "fused"
    if engine == "auto":
        return "eager"
    raise InputError(f"engine is 'fused', but {obstacle}: give 'auto' or 'eager'.")


def once_differentiable(network: Network, *, precision: str, engine: str) -> NetworkFunction:
    """Give the fastest form of a network for derivatives of first order.

    Args:
        network: The network.
        precision: "bfloat16": convolutions, products and feature maps, while sums, parameters and their updates stay
            as they are; else as the tensors are.
        engine: What `choose_engine` gave.

    Returns:
        A function of the network's arguments; its logits have the images' dtype.
    """
    if engine == "fused":
        stages = _stages(network.structure)
        assert stages is not None, "choose_engine says what can be fused"
        return partial(_run_fused, stages, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    return partial(_run_autocast, network) if precision == "bfloat16" else network


def _obstacle(network: Network, device: torch.device, precision: str) -> str | None:
    """Say why a network cannot be fused; None where it can."""
    if device.type != "cpu":
        return f"the fused layers run on the CPU, not on {device.type}"
    if precision == "float64":
        return "the fused layers know float32 and bfloat16, not float64"
    if _stages(network.structure) is None:
        return (
            f"{network.name} has no instance norm, ReLU and 2x2 average pooling in a row, on a multiple of "
            f"{CHANNEL_BLOCK} channels"
        )
    try:
        library()
    except UnavailableError as error:
        return str(error)
    return None


def _stages(structure: nn.Module) -> list[Stage] | None:
    """Rewrite a sequence of layers with fused ones; None where nothing can be fused."""
    if type(structure) is not nn.Sequential or any(type(layer) not in _PLAIN for layer in structure):
        return None
    layers = list(structure.named_children())
    stages: list[Stage] = []
    while layers:
        name, norm = layers[0]
        if isinstance(norm, nn.GroupNorm) and _has_kernel(norm, [layer for _, layer in layers[1:3]]):
            stages.append(partial(_norm_relu_pool, name, norm))
            layers = layers[3:]
        else:
            stages.append(partial(_layer, *layers.pop(0)))
    return stages if len(stages) < len(structure) else None


def _has_kernel(norm: nn.GroupNorm, following: Sequence[nn.Module]) -> bool:
    """Recognise a norm that makes, with the two layers after it, what the kernel computes."""
    if [type(layer) for layer in following] != [nn.ReLU, nn.AvgPool2d]:
        return False
    pooling = following[1]
    return (
        norm.affine
        and norm.num_groups == norm.num_channels
        and norm.num_channels % CHANNEL_BLOCK == 0
        and (pooling.kernel_size, pooling.stride, pooling.padding) in {(2, 2, 0), ((2, 2), (2, 2), (0, 0))}
        and not pooling.ceil_mode
    )


def _run_fused(
    stages: list[Stage],
    dtype: torch.dtype,
    parameters: Parameters,
    images: Tensor,
    buffers: Parameters | None = None,
    *,
    training: bool = False,
) -> Tensor:
    """Run the stages; no layer among them has buffers or a mode."""
    x = _channels_last(images, dtype)
    for stage in stages:
        x = stage(parameters, x)
    return x.to(images.dtype)


def _run_autocast(
    network: Network,
    parameters: Parameters,
    images: Tensor,
    buffers: Parameters | None = None,
    *,
    training: bool = False,
) -> Tensor:
    """Run torch's own layers, convolutions and products among them in bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16):
        return network(parameters, images, buffers, training=training).to(images.dtype)


def _channels_last(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy images to channels_last order, in their strides too."""
    # Convolutions order their output by the strides of their input, which torch leaves alone for a single channel.
    n, c, h, w = images.shape
    return torch.empty_strided((n, c, h, w), (h * w * c, 1, w * c, c), dtype=dtype).copy_(images)


def _norm_relu_pool(name: str, norm: nn.GroupNorm, parameters: Parameters, x: Tensor) -> Tensor:
    return norm_relu_pool(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"], norm.eps)


def _layer(name: str, layer: nn.Module, parameters: Parameters, x: Tensor) -> Tensor:
    """Run one of torch's layers in the precision of its input."""
    own = {local: parameters[f"{name}.{local}"].to(x.dtype) for local, _ in layer.named_parameters()}
    return cast(Tensor, functional_call(layer, own, (x,)))
