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
from datacondense.kernels.build import UnavailableError
from datacondense.kernels.native import CHANNEL_BLOCK
from datacondense.kernels.operations import has_kernel, load_kernels, norm_activation_pool
from datacondense.networks.layers import plain_sequence
from datacondense.networks.network import Network, Parameters

Engine: TypeAlias = Literal["auto", "fused", "eager"]
Precision: TypeAlias = Literal["auto", "float64", "float32", "bfloat16"]
Stage: TypeAlias = Callable[[Parameters, Tensor], Tensor]

# What is fused where, after a convolution.
_DEVICES = {
    "cpu": f"instance norm, ReLU and 2x2 average pooling in a row, on a multiple of {CHANNEL_BLOCK} channels",
    "cuda": "instance or group norm with an activation after it",
}
_NARROWEST = 8  # channels that a GPU multiplies quickly in bfloat16
_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Sigmoid: "sigmoid",
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky",
    nn.SiLU: "swish",
}


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

    The engine is then "fused" where that is possible, the precision "bfloat16" where the GPU, or the fused engine on a
    processor, has instructions for it, else "float32".
    """
    device = torch.device(device)
    if engine != "eager":
        engine = _fused_or_eager(network, device, precision, engine)
    if precision == "auto":
        half = _gpu_has_bfloat16(device) if device.type == "cuda" else engine == "fused" and has_bfloat16()
        precision = "bfloat16" if half else "float32"
    return Backend(engine, precision)


@cache
def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies in bfloat16."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(cpuinfo.split()))


def _gpu_has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU multiplies in bfloat16."""
    if not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def first_order_model(network: Network, backend: Backend) -> NetworkFunction:
    """Return the fastest form of a network for first-order derivatives."""
    half = backend.precision == "bfloat16"
    if backend.engine == "fused":
        stages = {device: _stages(network.structure, device) for device in _DEVICES}
        assert any(stages.values()), "choose_backend says what can be fused"
        return partial(_run_fused, stages, torch.bfloat16 if half else torch.float32)
    return partial(_run_autocast, network) if half else network


def _fused_or_eager(network: Network, device: torch.device, precision: str, engine: str) -> str:
    """Return "fused" where it is possible; refuse where it is impossible and required."""
    obstacle = _unfit(network, device, precision)
    if obstacle is None:
        try:
            load_kernels(device)
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
    if device.type not in _DEVICES:
        return f"the fused layers run on the CPU and on CUDA, not on {device.type}"
    if precision == "float64":
        return "the fused layers compute in float32 and bfloat16, not float64"
    if _stages(network.structure, device.type) is None:
        return f"{network.name} has no {_DEVICES[device.type]}"
    return None


@cache
def _mention(missing: str) -> None:
    """Warn once per process that it computes more slowly than it could."""
    warnings.warn(
        f"The fused engine is unavailable because {missing}: using torch's own layers, which are slower.",
        stacklevel=5,  # the caller of choose_backend's caller
    )


def _stages(structure: nn.Module, device: str) -> list[Stage] | None:
    """Return a sequence of layers with the fused ones of a type of device; None where nothing can be fused."""
    layers = plain_sequence(structure)
    if layers is None:
        return None
    number = len(layers)
    stages: list[Stage] = []
    while layers:
        if block := _block_at(layers, device):
            fused, taken = block
            stages.append(fused)
            layers = layers[taken:]
        else:
            stages.append(partial(_layer, *layers.pop(0)))
    return stages if len(stages) < number else None


def _block_at(layers: Sequence[tuple[str, nn.Module]], device: str) -> tuple[Stage, int] | None:
    """Return the convolution that a sequence begins with and what follows as one stage, and how many layers it is."""
    if len(layers) < 3:
        return None
    (_, convolution), (_, norm), (_, layer) = layers[:3]
    activation = _ACTIVATIONS.get(type(layer))
    pooling = _pooling(layers[3][1]) if len(layers) > 3 else "none"
    if (
        activation is None
        or not isinstance(convolution, nn.Conv2d)
        or convolution.padding_mode != "zeros"
        or not isinstance(norm, nn.GroupNorm)
        or not norm.affine
        or (isinstance(layer, nn.LeakyReLU) and layer.negative_slope != 0.01)
        or not has_kernel(device, norm.num_channels, norm.num_groups, activation, pooling)
    ):
        return None
    stage = partial(_block, *layers[0], *layers[1], activation, pooling)
    return stage, 3 if pooling == "none" else 4


def _pooling(layer: nn.Module) -> str:
    """Return which 2x2 pooling a layer is; "none" for any other layer."""
    if (
        not isinstance(layer, nn.AvgPool2d | nn.MaxPool2d)
        or {layer.kernel_size, layer.stride} - {2, (2, 2)}
        or layer.padding not in {0, (0, 0)}
        or layer.ceil_mode
    ):
        return "none"
    if isinstance(layer, nn.AvgPool2d):
        return "average" if layer.divisor_override is None else "none"
    return "max" if layer.dilation in {1, (1, 1)} and not layer.return_indices else "none"


def _run_fused(
    stages: dict[str, list[Stage] | None],
    dtype: torch.dtype,
    parameters: Parameters,
    images: Tensor,
    buffers: Parameters | None = None,
    *,
    training: bool = False,
) -> Tensor:
    """Run the stages; no layer among them has buffers or a mode."""
    own = stages[images.device.type]
    assert own is not None, "choose_backend says what can be fused"
    x = _channels_last(images, dtype)
    for stage in own:
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
    strides = (h * w * c, 1, w * c, c)
    return torch.empty_strided((n, c, h, w), strides, dtype=dtype, device=images.device).copy_(images)


def _block(
    name: str,
    convolution: nn.Module,
    norm_name: str,
    norm: nn.Module,
    activation: str,
    pooling: str,
    parameters: Parameters,
    x: Tensor,
) -> Tensor:
    """Run a convolution, norm, activation and pooling."""
    layer, group = cast(nn.Conv2d, convolution), cast(nn.GroupNorm, norm)
    weight, bias = parameters[f"{name}.weight"].to(x.dtype), parameters.get(f"{name}.bias")
    added = level = None
    if group.num_groups == group.num_channels:
        # The norm takes every level off again: it changes no value, its gradient is zero, and asking torch for that
        # gradient makes a convolution of one channel seven times slower.
        level = bias
    elif bias is not None:
        added = bias.to(x.dtype)
    if x.is_cuda and x.dtype == torch.bfloat16 and layer.groups == 1:
        x, weight = _widened(x, weight)
    x = F.conv2d(x, weight, added, layer.stride, layer.padding, layer.dilation, layer.groups)
    return norm_activation_pool(
        x,
        parameters[f"{norm_name}.weight"],
        parameters[f"{norm_name}.bias"],
        group.eps,
        groups=group.num_groups,
        activation=activation,
        pooling=pooling,
        level=level,
    )


def _widened(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Add channels of zeros to a narrow convolution's input and weight, which changes no value."""
    missing = max(_NARROWEST - x.shape[1], 0)
    if missing:
        x, weight = (F.pad(tensor, (0, 0, 0, 0, 0, missing)) for tensor in (x, weight))
    return x, weight


def _layer(name: str, layer: nn.Module, parameters: Parameters, x: Tensor) -> Tensor:
    """Run one of torch's layers in the precision of its input."""
    own = {local: parameters[f"{name}.{local}"].to(x.dtype) for local, _ in layer.named_parameters()}
    return cast(Tensor, functional_call(layer, own, (x,)))


def of_all_numbers(network: NetworkFunction, buffers: Parameters) -> Callable[[Parameters, Tensor], Tensor]:
    """Return a network as a function of parameters and buffers alike, which change from one iteration to the next."""

    def run(numbers: Parameters, images: Tensor) -> Tensor:
        parameters = {name: tensor for name, tensor in numbers.items() if name not in buffers}
        return network(parameters, images, {name: numbers[name] for name in buffers})

    return run
