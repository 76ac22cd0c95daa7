"""The user's own network, named "package.module:callable" and called as `callable(image_shape, num_classes)`."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datacondense.errors import InputError
from datacondense.networks.layers import ImageShape
from datacondense.networks.names import CustomSpec, canonical_name
from datacondense.networks.network import Network, Parameters

_STRUCTURE_SEED = 0  # of the copy that lends its structure and buffers; its parameters are never used


def build_custom(spec: CustomSpec, image_shape: ImageShape, num_classes: int) -> Network:
    """Wrap the user's module as a network.

    The module initialises itself from PyTorch's global generator, so every draw builds it anew under a seed that
    is drawn from the explicit generator, and puts the global state back.

    Args:
        spec: Where the callable is.
        image_shape: C, H, W of the images.
        num_classes: The number of classes K.

    Returns:
        The network.

    Raises:
        InputError: The callable cannot be imported or called, or does not give an `nn.Module` with logits `[N, K]`.
    """
    name = canonical_name(spec)
    make = _import_callable(spec)

    def build(seed: int) -> nn.Module:
        with _seeded(seed):
            return _called(name, make, image_shape, num_classes)

    def draw(generator: torch.Generator) -> Parameters:
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        return {key: _detached(value) for key, value in build(seed).named_parameters()}

    structure = build(_STRUCTURE_SEED)
    network = Network(
        name=name,
        image_shape=image_shape,
        num_classes=num_classes,
        structure=structure,
        draw=draw,
        buffers={key: _detached(value) for key, value in structure.named_buffers()},
    )
    _check_logits(network)
    return network


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let modules beside the user's data be imported, as `python -m` does."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _import_callable(spec: CustomSpec) -> Callable[..., Any]:
    """Import the callable."""
    name = canonical_name(spec)
    try:
        with _current_folder_importable():
            importlib.invalidate_caches()  # the file may be newer than Python's listing of the folder
            module = importlib.import_module(spec.module)
    except Exception as error:
        raise InputError(
            f"{name}: the module {spec.module} cannot be imported ({type(error).__name__}: {error}): run from the "
            "folder that holds it, or install it."
        ) from error
    if not hasattr(module, spec.attribute):
        raise InputError(
            f"{name}: the module {spec.module} has no {spec.attribute!r}: name a function or class that it defines."
        )
    found = getattr(module, spec.attribute)
    if not callable(found):
        raise InputError(
            f"{name} is of type {type(found).__name__}, which cannot be called: name a function or class that takes "
            "(image_shape, num_classes)."
        )
    make: Callable[..., Any] = found
    return make


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global CPU generator, and put its state back at the end."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the generators of every GPU too.
        torch.default_generator.manual_seed(seed)
        yield


def _called(name: str, make: Callable[..., Any], image_shape: ImageShape, num_classes: int) -> nn.Module:
    """Call the user's callable and check what it gives."""
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
    return module


def _detached(value: Tensor) -> Tensor:
    """Copy a tensor out of a module, floating ones as float32 on the CPU."""
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", dtype, copy=True)


def _check_logits(network: Network) -> None:
    """Run two blank images and check that one logit per class comes out."""
    parameters = network.draw(torch.Generator().manual_seed(_STRUCTURE_SEED))
    try:
        with torch.no_grad():
            logits = network(parameters, torch.zeros(2, *network.image_shape))
    except Exception as error:
        raise InputError(
            f"{network.name} failed on images of shape {(2, *network.image_shape)} ({type(error).__name__}: {error}): "
            "let its forward take a batch [N, C, H, W] of this size."
        ) from error
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (2, network.num_classes):
        raise InputError(
            f"{network.name} gave {found} for 2 images and {network.num_classes} classes, but logits must have shape "
            f"(2, {network.num_classes}): let its forward return one value per class."
        )
