"""How much memory the feature maps of a network take that a graph keeps for its derivatives."""

from typing import NamedTuple

import torch
from torch import Tensor

from datacondense.networks.network import Network, Parameters


class MapSizes(NamedTuple):
    """The feature maps that are kept of one image.

    Attributes:
        total: Their values together.
        largest: The values of the largest.
    """

    total: int
    largest: int


def map_sizes(network: Network, parameters: Parameters, buffers: Parameters) -> MapSizes:
    """Return the sizes of the feature maps that autograd keeps of one image, as a pass through the network shows."""
    # Not on the meta device, which would import a compiler.
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    own = {_storage(tensor) for tensor in (*leaves.values(), *buffers.values())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Several layers keep one map, and views of it.
        if _storage(tensor) not in own and tensor.numel() >= kept.get(_storage(tensor), tensor).numel():
            kept[_storage(tensor)] = tensor
        return tensor

    # The features of a network of one layer have no parameters: they are the pixels.
    image = next(iter(parameters.values()), torch.empty(())).new_zeros(1, *network.image_shape)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(leaves, image, buffers)
    sizes = [tensor.numel() for tensor in kept.values()] or [image.numel()]
    return MapSizes(sum(sizes), max(sizes))


def _storage(tensor: Tensor) -> int:
    identity: int = tensor.untyped_storage()._cdata
    return identity
