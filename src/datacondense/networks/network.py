"""`Network`: the structure of a network, kept apart from its numbers.

Condensation differentiates through many freshly drawn networks, so parameters and buffers are arguments, and
the object keeps nothing that a call computes.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

Parameters: TypeAlias = dict[str, Tensor]
"""Tensors by name, in the order of the layers; buffers use the same type."""

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Network:
    """A function from parameters, buffers and images to logits, which can draw fresh parameters.

    Attributes:
        name: The canonical short name, such as "convnet-w64-d2" or "package.module:callable".
        image_shape: Channels, height and width of the images it takes.
        num_classes: The number of classes K.
    """

    def __init__(
        self,
        *,
        name: str,
        image_shape: tuple[int, int, int],
        num_classes: int,
        structure: nn.Module,
        draw: Callable[[torch.Generator], Parameters],
        buffers: Parameters,
    ) -> None:
        self.name = name
        self.image_shape = image_shape
        self.num_classes = num_classes
        self._structure = structure
        self._draw = draw
        self._initial_buffers = buffers

    def __repr__(self) -> str:
        return f"Network({self.name!r}, image_shape={self.image_shape}, num_classes={self.num_classes})"

    @property
    def structure(self) -> nn.Module:
        """The layers, whose own numbers have no meaning; not to be changed."""
        return self._structure

    @property
    def num_parameters(self) -> int:
        """The number of trainable values."""
        return sum(parameter.numel() for parameter in self._structure.parameters())

    @property
    def has_batch_norm(self) -> bool:
        """Whether a layer keeps running statistics of batches."""
        return bool(self._batch_norms())

    def draw(self, generator: torch.Generator) -> Parameters:
        """Draw fresh parameters; the network itself does not change.

        Args:
            generator: A CPU generator, which advances; no other source of randomness is used.

        Returns:
            float32 CPU tensors by name, which share memory with nothing else.
        """
        return self._draw(generator)

    def buffers(self) -> Parameters:
        """Return the buffers that the network starts with.

        Returns:
            Fresh CPU tensors by name; empty for most networks.
        """
        return {name: buffer.clone() for name, buffer in self._initial_buffers.items()}

    def __call__(
        self,
        parameters: Parameters,
        images: Tensor,
        buffers: Parameters | None = None,
        *,
        training: bool = False,
    ) -> Tensor:
        """Compute logits; differentiable any number of times with respect to parameters and images.

        Args:
            parameters: From `draw`, possibly moved, trained or converted.
            images: Normalised images `[N, C, H, W]`, of the parameters' dtype and device.
            buffers: From `buffers` or `measure_statistics`; the initial ones where None.
            training: Whether batch normalisation uses (and, in place, updates the running statistics in
                `buffers` by) the statistics of these images, and a user's dropout drops. The network keeps
                nothing of it: the next call starts from its own arguments.

        Returns:
            Logits `[N, K]`.
        """
        if buffers is None:
            buffers = self._buffers_like(images)
        self._structure.train(training)
        return self._logits(parameters, buffers, images)

    @torch.no_grad()
    def measure_statistics(self, parameters: Parameters, images: Tensor) -> Parameters:
        """Measure the batch statistics that freeze batch normalisation (Zhao et al. 2021, section 4.1).

        Every layer's running mean and variance become those of its own input for these images, where earlier
        layers have normalised by the batch too. PyTorch's running update would leave them mixed with the starting
        values, at 10 % with the usual momentum; here that weight is divided out. The variance is the unbiased one,
        which is what PyTorch keeps. Only batch normalisation runs in training mode: a user's dropout stays off. A layer
        whose momentum is 0 keeps its initial statistics.

        Args:
            parameters: The numbers of the network.
            images: Normalised images `[N, C, H, W]`, enough for two values per channel in every layer.

        Returns:
            Buffers for later calls, of the images' dtype and device; the initial ones without batch normalisation.
        """
        initial, measured = self._buffers_like(images), self._buffers_like(images)
        batch_norms = self._batch_norms()
        if not batch_norms:
            return initial
        for prefix in batch_norms:
            for name in _statistics(prefix):
                measured[name].zero_()
        self._structure.eval()
        for layer in batch_norms.values():
            layer.train()
        self._logits(parameters, measured, images)
        for prefix, layer in batch_norms.items():
            mean, variance, count = _statistics(prefix)
            weight = _weight_of_batches(layer.momentum, int(measured[count]))
            for name in (mean, variance):
                measured[name] = measured[name] / weight if weight else initial[name]
        return measured

    def _logits(self, parameters: Parameters, buffers: Parameters, images: Tensor) -> Tensor:
        """Run the structure on given numbers."""
        numbers = {**parameters, **buffers}
        # Of the forms of attention, which only a user's own network has, this one alone has a second derivative.
        with sdpa_kernel(SDPBackend.MATH) if ":" in self.name else nullcontext():
            return cast(Tensor, functional_call(self._structure, numbers, (images,), strict=True))

    def _buffers_like(self, images: Tensor) -> Parameters:
        """Return fresh initial buffers on the images' device, the floating ones in their dtype."""
        return {
            name: buffer.to(images.device, images.dtype if buffer.is_floating_point() else None, copy=True)
            for name, buffer in self._initial_buffers.items()
        }

    def _batch_norms(self) -> dict[str, nn.BatchNorm2d]:
        """Return the layers that keep running statistics, by the prefix of their buffers' names."""
        return {
            name: cast(nn.BatchNorm2d, module)
            for name, module in self._structure.named_modules()
            if isinstance(module, _BATCH_NORMS) and module.running_mean is not None
        }


def moved(tensors: Parameters, device: torch.device | str, dtype: torch.dtype) -> Parameters:
    """Convert parameters or buffers to a device, and the floating ones to a number type."""
    return {
        name: tensor.to(device, dtype if tensor.is_floating_point() else None)
        for name, tensor in tensors.items()
    }


def _statistics(prefix: str) -> tuple[str, str, str]:
    """Return the names of a batch normalisation's buffers."""
    stem = f"{prefix}." if prefix else ""
    return f"{stem}running_mean", f"{stem}running_var", f"{stem}num_batches_tracked"


def _weight_of_batches(momentum: float | None, num_batches: int) -> float:
    """Return the weight of all batches in a running average that starts at 0."""
    if momentum is None:
        return float(num_batches > 0)
    return float(1 - (1 - momentum) ** num_batches)
