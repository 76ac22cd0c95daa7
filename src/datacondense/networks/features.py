"""Features: what a network computes before its last linear layer, where selections compare images."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from datacondense.errors import InputError
from datacondense.networks.network import Network, Parameters

_ACTIVATIONS = (nn.ELU, nn.GELU, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Tanh)
_BATCH = 500  # images per forward pass: large enough to be fast, small enough for any memory


class Images(Protocol):
    """The part of an `ImageSet` that `features_of` needs; networks do not import its module, which reads files."""

    @property
    def labels(self) -> Tensor:
        """Class numbers `[N]`."""

    def normalised(self, indices: Tensor) -> Tensor:
        """Return the images at some positions as networks see them, float32 `[M, C, H, W]`."""


@torch.no_grad()
def penultimate_features(
    network: Network, parameters: Parameters, images: Tensor, buffers: Parameters | None = None
) -> Tensor:
    """Compute the input `[N, D]` of the last linear layer in the order of execution, without a gradient."""
    # Where the network ends in that layer, as all networks of this library do, `logits = W·features + b`.
    with _last_linear_call(network.structure) as noted:
        network(parameters, images, buffers)
    _, last = _only(noted, network.name)
    if last.dim() < 2 or len(last) != len(images):
        raise InputError(
            f"The last linear layer of {network.name} takes {tuple(last.shape)} for {len(images)} images, but "
            "features are one row for each image: let the first axis of its input be the images."
        )
    return last.flatten(1).clone()


def features_of(
    network: Network, parameters: Parameters, images: Images, buffers: Parameters | None = None
) -> Tensor:
    """Compute `penultimate_features` `[N, D]` of an image set, some hundred images at a time."""
    dtype = next((parameter.dtype for parameter in parameters.values()), torch.float32)
    positions = torch.arange(len(images.labels), device=images.labels.device).split(_BATCH)
    return torch.cat([
        penultimate_features(network, parameters, images.normalised(batch).to(dtype), buffers)
        for batch in positions
    ])


def embedding_network(network: Network) -> Network:
    """Return a network without its last linear layer, whose outputs are features instead of logits.

    Where the network ends in that layer the outputs are those of `penultimate_features`, here differentiable and, as
    for any network, faster where that is possible (see `first_order_model`). Parameters are drawn as in the given one,
    without those of that layer. Outputs have any number of axes, the first of which is the images'.
    """
    parameters = network.draw(torch.Generator().manual_seed(0))
    with _last_linear_call(network.structure) as noted, torch.no_grad():
        network(parameters, torch.zeros(2, *network.image_shape))
    last, _ = _only(noted, network.name)
    structure = deepcopy(network.structure)
    structure.set_submodule(last, nn.Identity())

    def others(tensors: Parameters) -> Parameters:
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{last}.")}

    return Network(
        name=network.name,
        image_shape=network.image_shape,
        num_classes=network.num_classes,
        structure=structure,
        draw=lambda generator: others(network.draw(generator)),
        buffers=others(network.buffers()),
    )


def _only(noted: Mapping[str, Tensor], name: str) -> tuple[str, Tensor]:
    """Return the last linear layer's name and input."""
    if not noted:
        raise InputError(
            f"{name} calls no nn.Linear, but features are the input of its last one: choose a network that ends in a "
            "linear layer."
        )
    (only,) = noted.items()
    return only


def activation_maps(
    network: Network, run: Callable[[Tensor], Tensor], images: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return what the activation layers of a network pass on as maps, and its output; all differentiable.

    Args:
        network: The network, such as those of this library: activations are layers of torch.
        run: Its computation on images, by torch's own layers.
        images: Normalised images `[N, C, H, W]`.

    Returns:
        Maps `[N, C', H', W']` in the order of execution, and the output of `run`.

    Raises:
        InputError: There are none.
    """
    maps: list[Tensor] = []

    def note(_layer: nn.Module, _given: Any, passed: Tensor) -> None:
        if passed.dim() == 4:
            maps.append(passed)

    with ExitStack() as hooks:
        for layer in network.structure.modules():
            if isinstance(layer, _ACTIVATIONS):
                hooks.enter_context(layer.register_forward_hook(note))
        output = run(images)
    if not maps:
        raise InputError(
            f"{network.name} has no activation layer, such as nn.ReLU, on maps [N, C, H, W]: choose a network of "
            "convolutions, or features instead of attention."
        )
    return tuple(maps), output


@contextmanager
def _last_linear_call(structure: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the input of the linear layer that was called last, by its name; nothing before the first call."""
    noted: dict[str, Tensor] = {}
    names = {layer: name for name, layer in structure.named_modules()}

    def note(layer: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        noted.clear()
        noted[names[layer]] = positional[0] if positional else named["input"]

    with ExitStack() as hooks:
        for layer in names:
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_pre_hook(note, with_kwargs=True))
        yield noted
