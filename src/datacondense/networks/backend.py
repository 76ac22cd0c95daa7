"""The backend: engine and precision with which first-order derivatives of a network are computed.

Matching differentiates the synthetic side twice, which only torch's own layers can do. Everything else (gradients for
real images, the network's training, evaluation) is differentiated once or not at all and takes the models built here:
functions of the same arguments with the same values up to rounding, but with fused layers and lower precision.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.kernels.build import UnavailableError, library
from datacondense.kernels.operations import CHANNEL_BLOCK, norm_relu_pool
from datacondense.networks.layers import plain_sequence
from datacondense.networks.network import Network, Parameters

Engine: TypeAlias = Literal["auto", "fused", "eager"]
Precision: TypeAlias = Literal["auto", "float64", "float32", "bfloat16"]
Stage: TypeAlias = Callable[[Parameters, Tensor], Tensor]


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


class Backend(NamedTuple):
    """How first-order derivatives are computed.

    Attributes:
        engine: "fused" (with the kernels of this library) or "eager" (with torch's own layers).
        precision: "float64", "float32" or "bfloat16".
    """

    engine: str
    precision: str


def check_backend(engine: str, precision: str) -> None:
    """Check the names of an engine and of a precision."""
    for what, name, known in (
        ("precision", precision, get_args(Precision)),
        ("engine", engine, get_args(Engine)),
    ):
        if name not in known:
            raise InputError(f"{what} is {name!r}: choose one of {', '.join(known)}.")


def choose_backend(network: Network, device: torch.device | str, *, precision: str, engine: str) -> Backend:
    """Return engine and precision of a network on a machine, "auto" resolved.

    The engine is then "fused" where that is possible, the precision "bfloat16" where the fused engine computes and the
    processor has instructions for it, else "float32".
    """
    if engine != "eager":
        engine = _fused_or_eager(network, torch.device(device), precision, engine)
    if precision == "auto":
        precision = "bfloat16" if engine == "fused" and has_bfloat16() else "float32"
    return Backend(engine, precision)


@cache
def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies in bfloat16."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(cpuinfo.split()))


def first_order_model(network: Network, backend: Backend) -> NetworkFunction:
    """Return the fastest form of a network for first-order derivatives."""
    half = backend.precision == "bfloat16"
    if backend.engine == "fused":
        stages = _stages(network.structure)
        assert stages is not None, "choose_backend says what can be fused"
        return partial(_run_fused, stages, torch.bfloat16 if half else torch.float32)
    return partial(_run_autocast, network) if half else network


def _fused_or_eager(network: Network, device: torch.device, precision: str, engine: str) -> str:
    """Return "fused" where it is possible; refuse where it is impossible and required."""
    obstacle = _unfit(network, device, precision)
    if obstacle is None:
        try:
            library()
            return "fused"
        except UnavailableError as error:
            obstacle = str(error)
            if engine == "auto":
                _mention(obstacle)
    if engine == "fused":
        raise InputError(f"engine is 'fused', but {obstacle}: give 'auto' or 'eager'.")
    return "eager"


def _unfit(network: Network, device: torch.device, precision: str) -> str | None:
    """Return why a network cannot be fused on any such machine; None where it can."""
    if device.type != "cpu":
        return f"the fused layers run on the CPU, not on {device.type}"
    if precision == "float64":
        return "the fused layers compute in float32 and bfloat16, not float64"
    if _stages(network.structure) is None:
        return (
            f"{network.name} has no instance norm, ReLU and 2x2 average pooling in a row, on a multiple of "
            f"{CHANNEL_BLOCK} channels"
        )
    return None


@cache
def _mention(missing: str) -> None:
    """Warn once per process that it computes more slowly than it could."""
    warnings.warn(
        f"The fused engine is unavailable because {missing}: using torch's own layers, which are slower.",
        stacklevel=5,  # the caller of choose_backend's caller
    )


def _stages(structure: nn.Module) -> list[Stage] | None:
    """Return a sequence of layers with fused ones; None where nothing can be fused."""
    layers = plain_sequence(structure)
    if layers is None:
        return None
    number = len(layers)
    stages: list[Stage] = []
    while layers:
        if _is_block([layer for _, layer in layers[:4]]):
            stages.append(partial(_block, *layers[0], *layers[1]))
            layers = layers[4:]
        else:
            stages.append(partial(_layer, *layers.pop(0)))
    return stages if len(stages) < number else None


def _is_block(layers: Sequence[nn.Module]) -> bool:
    """Whether layers are a convolution and the three after it that one kernel computes."""
    if [type(layer) for layer in layers] != [nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.AvgPool2d]:
        return False
    convolution, norm, _, pooling = layers
    return (
        isinstance(convolution, nn.Conv2d)
        and convolution.padding_mode == "zeros"
        and isinstance(norm, nn.GroupNorm)
        and norm.affine
        and norm.num_groups == norm.num_channels
        and norm.num_channels % CHANNEL_BLOCK == 0
        and (pooling.kernel_size, pooling.stride, pooling.padding) in {(2, 2, 0), ((2, 2), (2, 2), (0, 0))}
        and not pooling.ceil_mode
        and pooling.divisor_override is None
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


def _block(
    name: str, convolution: nn.Module, norm_name: str, norm: nn.Module, parameters: Parameters, x: Tensor
) -> Tensor:
    """Run a convolution, norm, activation and pooling."""
    # Without the convolution's bias, whose level the norm takes off again: it changes no value, its gradient is zero,
    # and asking torch for that gradient makes a convolution of one channel seven times slower.
    layer, group = cast(nn.Conv2d, convolution), cast(nn.GroupNorm, norm)
    weight = parameters[f"{name}.weight"].to(x.dtype)
    x = F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    bias = parameters.get(f"{name}.bias")
    return norm_relu_pool(
        x, parameters[f"{norm_name}.weight"], parameters[f"{norm_name}.bias"], group.eps, level=bias
    )


def _layer(name: str, layer: nn.Module, parameters: Parameters, x: Tensor) -> Tensor:
    """Run one of torch's layers in the precision of its input."""
    own = {local: parameters[f"{name}.{local}"].to(x.dtype) for local, _ in layer.named_parameters()}
    return cast(Tensor, functional_call(layer, own, (x,)))
