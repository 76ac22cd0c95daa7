"""What a run draws: networks, real batches, augmentations, each a function of the seed and of what it is for."""

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any, TypeAlias

import torch
from torch import Tensor

from datacondense.augment.strategies import apply_view, draw_view
from datacondense.cuda_graphs import sent
from datacondense.image_set import ImageSet
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator

_MOST_AHEAD = 2**28  # bytes of real images that are drawn before they are needed
_STATISTICS_BATCH = 16  # real images per class on which BatchNorm is measured, as published

View: TypeAlias = Callable[[int, Tensor], Tensor]


class Sampler:
    """Draws networks and images for one data set and seed; nothing that was drawn before changes what comes next.

    Attributes:
        train: The real images, on the device that computes.
        dtype: Of everything that is drawn.
    """

    def __init__(self, train: ImageSet, seed: int, dtype: torch.dtype = torch.float32) -> None:
        self.train, self.dtype = train, dtype
        self._seed, self._device = seed, train.images.device
        self._ahead: dict[tuple[Any, ...], Any] = {}

    def generator(self, purpose: str, *index: int) -> torch.Generator:
        """Return a fresh CPU generator for a purpose and the counters that tell apart what is drawn for it."""
        return seeded_generator(self._seed, purpose, *index)

    def network(self, network: Network, purpose: str, number: int) -> Parameters:
        """Draw the parameters of a network; `number` tells apart those for one purpose."""
        drawn: Parameters | None = self._ahead.pop((network, purpose, number), None)
        if drawn is None:
            parameters = network.draw(self.generator(purpose, number))
            drawn = {name: sent(tensor.to(self.dtype), self._device) for name, tensor in parameters.items()}
        return drawn

    def noise(self, shape: tuple[int, ...], purpose: str, *index: int) -> Tensor:
        """Draw standard normal numbers of a shape for a purpose."""
        drawn = torch.randn(shape, generator=self.generator(purpose, *index))
        return sent(drawn.to(self.dtype), self._device)

    def real(self, label: int, size: int, purpose: str, *index: int) -> Tensor:
        """Draw normalised real images `[B, C, H, W]` of a class, none twice: all that it has where they are fewer."""
        images: Tensor | None = self._ahead.pop((label, size, purpose, *index), None)
        if images is not None:
            return images
        return self.images(self.positions(label, size, purpose, *index))

    def positions(self, label: int, size: int, purpose: str, *index: int) -> Tensor:
        """Draw positions `[B]` in the training set, of what `real` returns."""
        members = self.train.class_indices[label]
        drawn = torch.randperm(len(members), generator=self.generator(purpose, *index, label))[:size]
        return members[sent(drawn, self._device)]

    def images(self, positions: Tensor) -> Tensor:
        """Return the normalised real images at some positions, `[B, C, H, W]`."""
        return self.train.normalised(positions).to(self.dtype)

    def draw_ahead(self, network: Network, size: int, step: Sequence[int], classes: range) -> None:
        """Draw what `real`, for some classes, and `network` will be asked for in a step, for purposes of these names.

        What is drawn is the same; on a GPU it costs no time while the device is busy with the step before. Real images
        that take much memory are left for when they are needed.
        """
        outer, inner = step
        found: dict[tuple[Any, ...], Any] = {}
        if inner == 0:
            found[network, "network", outer] = self.network(network, "network", outer)
        numbers = size * len(classes) * prod(self.train.image_shape)
        if numbers * self.dtype.itemsize <= _MOST_AHEAD:
            for label in classes:
                found[label, size, "real", *step] = self.real(label, size, "real", *step)
        self._ahead = found

    def real_of_all(self, size: int, purpose: str, number: int) -> tuple[Tensor, Tensor]:
        """Draw a batch of all classes: normalised real images `[B, C, H, W]` and their classes `[B]`.

        Batches follow each other in epochs, each in a new order; the last of an epoch may be smaller.
        """
        total = len(self.train)
        epoch, position = divmod(number, ceil(total / size))
        order = torch.randperm(total, generator=self.generator(purpose, epoch))
        drawn = sent(order[position * size :][:size], self._device)
        return self.train.normalised(drawn).to(self.dtype), self.train.labels[drawn]

    def view(self, strategy: str, purpose: str, *index: int) -> View:
        """Return one Siamese augmentation for each class (Zhao and Bilen, ICML 2021), by a resolved strategy.

        It is a function from a class and some of its images `[n, C, H, W]` to the augmented ones: the same change for
        all images of the class, real or synthetic, differentiable in them.
        """
        if strategy == "none":
            return lambda _, images: images

        def change(label: int, images: Tensor) -> Tensor:
            generator = self.generator(purpose, *index, label)
            return apply_view(draw_view(strategy, 1, self.train.image_shape, generator), images)

        return change

    def frozen_buffers(
        self, network: Network, parameters: Parameters, *index: int, purpose: str = "statistics"
    ) -> Parameters:
        """Measure BatchNorm on real images of all classes; no later part of the step changes it."""
        if not network.has_batch_norm:
            own = moved(network.buffers(), "cpu", self.dtype)
            return {name: sent(tensor, self._device) for name, tensor in own.items()}
        batches = [
            self.real(label, _STATISTICS_BATCH, purpose, *index) for label in range(self.train.num_classes)
        ]
        return network.measure_statistics(parameters, torch.cat(batches))


def by_class(view: View, images: Tensor, first: int = 0) -> Tensor:
    """Augment the images `[K, S, C, H, W]` of every class, counted from the first one's number, by its view."""
    return torch.stack([view(label, own) for label, own in enumerate(images, first)])
