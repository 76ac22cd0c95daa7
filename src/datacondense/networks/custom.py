"""The user's own network: a function or class called as `callable(image_shape, num_classes)`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from datacondense.errors import InputError
from datacondense.networks.layers import ImageShape
from datacondense.networks.network import Network, Parameters
from datacondense.user_code import name_of, user_callable

_STRUCTURE_SEED = 0  # of the copy that lends its structure and buffers; its parameters are never used


def build_custom(network: str | Callable[..., Any], image_shape: ImageShape, num_classes: int) -> Network:
    """Return the user's module, "package.module:callable" or the callable itself, as a network.

    The module initialises itself from PyTorch's global generator, so `Network.draw` builds it anew under a seed that is
    drawn from the explicit generator, and restores the global state.
    """
    name, make = name_of(network), user_callable(network, "network", "(image_shape, num_classes)")

    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the generators of every GPU too.
            torch.default_generator.manual_seed(seed)
            return _called(name, make, image_shape, num_classes)

    def draw(generator: torch.Generator) -> Parameters:
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        return {key: _detached(value) for key, value in build(seed).named_parameters()}

    structure = build(_STRUCTURE_SEED)
    built = Network(
        name=name,
        image_shape=image_shape,
        num_classes=num_classes,
        structure=structure,
        draw=draw,
        buffers={key: _detached(value) for key, value in structure.named_buffers()},
    )
    _check_logits(built)
    return built


def _called(name: str, make: Callable[..., Any], image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Call the user's callable and check what it returns."""
    try:
        module = make(image_shape, num_classes)
    except Exception as error:
        raise InputError(
            f"{name} failed when called with image_shape={image_shape}, num_classes={num_classes} "
            f"({type(error).__name__}: {error}): let it take these two arguments and support this size."
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{name} returned a {type(module).__name__}, but must return a torch.nn.Module: return the network itself."
        )
    if _is_lazy(module):
        _materialise(name, module, image_shape)
    return module


def _is_lazy(module: nn.Module) -> bool:
    """Whether a layer such as nn.LazyLinear waits for its first input to know its size."""
    return any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers()))


def _materialise(name: str, module: nn.Module, image_shape: ImageShape) -> None:
    """Let lazy layers see two blank images; no statistics are kept of these."""
    module.eval()
    _run_blank(name, module, image_shape)
    if _is_lazy(module):
        raise InputError(
            f"{name} has a lazy layer that its forward does not call, so that its size is unknown: give the layer its "
            "size, or leave it out."
        )


def _run_blank(name: str, run: Callable[[Tensor], Any], image_shape: ImageShape) -> Any:
    """Run two blank images without a gradient."""
    shape = (2, *image_shape)
    try:
        with torch.no_grad():
            return run(torch.zeros(shape))
    except Exception as error:
        raise InputError(
            f"{name} failed on images of shape {shape} ({type(error).__name__}: {error}): let its forward take a batch "
            "[N, C, H, W] of this size."
        ) from error


def _detached(value: Tensor) -> Tensor:
    """Copy a tensor out of a module, floating ones as float32 on the CPU."""
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", dtype, copy=True)


def _check_logits(network: Network) -> None:
    """Run two blank images and check that one logit per class comes out."""
    parameters = network.draw(torch.Generator().manual_seed(_STRUCTURE_SEED))
    logits = _run_blank(network.name, partial(network, parameters), network.image_shape)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, network.num_classes):
        raise InputError(
            f"{network.name} gave {found} for 2 images and {network.num_classes} classes, but logits must have shape "
            f"(2, {network.num_classes}): let its forward return one value per class."
        )
