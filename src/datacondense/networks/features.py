"""Features: what a network computes before its last linear layer, where selections compare images."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from datacondense.errors import InputError
from datacondense.networks.network import Network, Parameters

_BATCH = 500  # images per forward pass: large enough to be fast, small enough for any memory


class Images(Protocol):
    """What `features_of` asks of an `ImageSet`, whose own module reads files: networks know no files."""

    @property
    def labels(self) -> Tensor:
        """Class numbers `[N]`."""

    def normalised(self, indices: Tensor) -> Tensor:
        """Give images as networks see them.

        Args:
            indices: Positions `[M]`.

        Returns:
            float32 `[M, C, H, W]`.
        """


@torch.no_grad()
def penultimate_features(
    network: Network, parameters: Parameters, images: Tensor, buffers: Parameters | None = None
) -> Tensor:
    """Compute the input of the last linear layer, the last in the order of execution.

    Where the network ends in that layer, as all networks of this library do, `logits = W·features + b`.

    Args:
        network: The network; it does not change.
        parameters: Its trained parameters.
        images: Normalised images `[N, C, H, W]`, of the parameters' dtype and device.
        buffers: Its buffers; the initial ones where None.

    Returns:
        Features `[N, D]`, without a gradient; where the layer sees more axes than two, D is the product of all but
        the first.

    Raises:
        InputError: The network calls no linear layer, or calls it on something else than one row per image.
    """
    with _last_linear_input(network.structure) as noted:
        network(parameters, images, buffers)
    if not noted:
        raise InputError(
            f"{network.name} calls no nn.Linear, but features are the input of its last one: choose a network that "
            "ends in a linear layer."
        )
    (last,) = noted
    if last.dim() < 2 or len(last) != len(images):
        raise InputError(
            f"The last linear layer of {network.name} takes {tuple(last.shape)} for {len(images)} images, but "
            "features are one row for each image: let the first axis of its input be the images."
        )
    return last.flatten(1).clone()


def features_of(
    network: Network, parameters: Parameters, images: Images, buffers: Parameters | None = None
) -> Tensor:
    """Compute `penultimate_features` of a whole image set, some hundred images at a time.

    Args:
        network: The network; it does not change.
        parameters: Its trained parameters, on the device of the images.
        images: The image set; its own mean and std normalise them.
        buffers: The network's buffers; the initial ones where None.

    Returns:
        Features `[N, D]` in the order of the images, of the parameters' dtype.

    Raises:
        InputError: As `penultimate_features` does.
    """
    dtype = next((parameter.dtype for parameter in parameters.values()), torch.float32)
    positions = torch.arange(len(images.labels), device=images.labels.device).split(_BATCH)
    return torch.cat([
        penultimate_features(network, parameters, images.normalised(batch).to(dtype), buffers)
        for batch in positions
    ])


@contextmanager
def _last_linear_input(structure: nn.Module) -> Iterator[list[Tensor]]:
    """Note what the linear layer that was called last got; nothing before the first call."""
    noted: list[Tensor] = []

    def note(_: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        noted[:] = [positional[0] if positional else named["input"]]

    with ExitStack() as hooks:
        for layer in structure.modules():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_pre_hook(note, with_kwargs=True))
        yield noted
