"""Several copies of one network, each with its own parameters and images, as one network with grouped convolutions.

One call does the work of many small ones, and gradients come apart by copy: what matching needs per class, from one
graph. Differentiable any number of times, since it consists of torch's own layers.
"""

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.networks.layers import num_features, plain_sequence
from datacondense.networks.network import Network, Parameters

_KEPT = 6  # about: copies of each feature map and parameter that a graph for second derivatives holds


_OF_MAPS = (nn.AvgPool2d, nn.Conv2d, nn.GroupNorm, nn.MaxPool2d)


class StackedNetwork(Protocol):
    """A function from the parameters and images of R networks to their logits."""

    def __call__(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Compute logits `[R, N, K]` from parameters `[R, *shape]` and normalised images `[R, N, C, H, W]`."""


def stack_network(network: Network) -> StackedNetwork | None:
    """Return the function of R networks at once; None for a structure that cannot be stacked.

    Convolutions, group and instance norms, activations and poolings, one flattening, then linear layers and activations
    can.
    """
    layers = plain_sequence(network.structure)
    if layers is None or not _can_be_stacked([layer for _, layer in layers]):
        return None

    def run(parameters: Parameters, images: Tensor) -> Tensor:
        copies, number, channels, height, width = images.shape
        # Side by side as channels, because a grouped convolution keeps its groups apart.
        x = images.transpose(0, 1).reshape(number, copies * channels, height, width)
        for name, layer in layers:
            own = {local: parameters[f"{name}.{local}"] for local, _ in layer.named_parameters()}
            x = _stacked_layer(layer, own, x, copies)
        return x

    return run


def bytes_of_graph(network: Network, num_images: int) -> int:
    """Return about the memory of one copy's graph for second derivatives, in bytes in float32."""
    layers = list(cast(nn.Sequential, network.structure))
    maps = sum(num_features(layers[: end + 1], network.image_shape) for end in range(len(layers)))
    return 4 * _KEPT * (maps * num_images + network.num_parameters)


def _can_be_stacked(layers: list[nn.Module]) -> bool:
    """Whether every layer of a plain sequence has a stacked form where it stands."""
    flattenings = [(end, layer) for end, layer in enumerate(layers) if isinstance(layer, nn.Flatten)]
    if len(flattenings) != 1:
        return False
    ((end, flatten),) = flattenings
    before, after = layers[:end], layers[end:]
    return (
        (flatten.start_dim, flatten.end_dim) == (1, -1)
        and not any(isinstance(layer, nn.Linear) for layer in before)
        and not any(isinstance(layer, _OF_MAPS) for layer in after)
        and all(layer.padding_mode == "zeros" for layer in before if isinstance(layer, nn.Conv2d))
    )


def _stacked_layer(layer: nn.Module, own: Parameters, x: Tensor, copies: int) -> Tensor:
    """Run one layer of all copies: on `[N, R·C, H, W]` before the images are flattened, on `[R, N, features]` after."""
    flat = {local: tensor.flatten(0, 1) for local, tensor in own.items()}
    match layer:
        case nn.Conv2d():
            return F.conv2d(
                x,
                flat["weight"],
                flat.get("bias"),
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups * copies,
            )
        case nn.GroupNorm():
            return F.group_norm(x, layer.num_groups * copies, flat.get("weight"), flat.get("bias"), layer.eps)
        case nn.Flatten():
            return x.reshape(len(x), copies, -1).transpose(0, 1)
        case nn.Linear():
            product = torch.bmm(x, own["weight"].mT)
            return product + own["bias"][:, None] if "bias" in own else product
    return cast(Tensor, layer(x))
