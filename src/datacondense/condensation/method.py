"""What the loop needs of a method, and what methods share: how networks and real images are drawn."""

import warnings
from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from datacondense.augment.names import siamese_operations
from datacondense.augment.siamese import apply_siamese, draw_siamese
from datacondense.condensation.config import MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.fused import Backend
from datacondense.networks.network import Network, Parameters, moved
from datacondense.random import seeded_generator

_STATISTICS_BATCH = 16  # real images per class on which BatchNorm is measured, as published


View: TypeAlias = Callable[[int, Tensor], Tensor]


class Method(Protocol):
    """What the loop needs of a method: a first state, and a step from one state to the next."""

    @property
    def backend(self) -> Backend:
        """How it computes, for the record."""

    def init(self) -> State:
        """Give the state before the first step.

        Returns:
            The state; equal at every call.
        """

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Go one step on.

        Args:
            state: As the step before left it; not changed.
            step: Which step this is.

        Returns:
            The next state, and the loss before the step.
        """


class Sampler:
    """What a run draws: networks and images, each a function of the seed and of what it is for.

    Attributes:
        device: Where everything is brought to.
        dtype: Of everything.
    """

    def __init__(self, train: ImageSet, seed: int, precision: str) -> None:
        self._train, self._seed = train, seed
        self.device = train.images.device
        self.dtype = torch.float64 if precision == "float64" else torch.float32

    def generator(self, purpose: str, *index: int) -> torch.Generator:
        """Give the random numbers of a purpose.

        Args:
            purpose: What is drawn.
            *index: Counters that tell apart the draws of one purpose.

        Returns:
            A fresh CPU generator.
        """
        return seeded_generator(self._seed, purpose, *index)

    def network(self, network: Network, purpose: str, number: int) -> Parameters:
        """Draw the parameters of a network.

        Args:
            network: The structure.
            purpose: What it is for.
            number: Its number among those of the purpose.

        Returns:
            The parameters by name.
        """
        return moved(network.draw(self.generator(purpose, number)), self.device, self.dtype)

    def noise(self, shape: tuple[int, ...], purpose: str, *index: int) -> Tensor:
        """Draw standard normal numbers.

        Args:
            shape: The shape.
            purpose: What they are for.
            *index: Counters.

        Returns:
            The numbers.
        """
        return torch.randn(shape, generator=self.generator(purpose, *index)).to(self.device, self.dtype)

    def real(self, label: int, size: int, purpose: str, *index: int) -> Tensor:
        """Draw normalised real images of one class, with replacement only where too few exist.

        Args:
            label: The class.
            size: How many.
            purpose: What they are for.
            *index: Counters.

        Returns:
            Images `[size, C, H, W]`.
        """
        members = self._train.class_indices[label]
        generator = self.generator(purpose, *index, label)
        # Without replacement where the class is large enough, as published.
        if size <= len(members):
            selected = torch.randperm(len(members), generator=generator)[:size]
        else:
            selected = torch.randint(len(members), (size,), generator=generator)
        return self._train.normalised(members[selected.to(members.device)]).to(self.dtype)

    def start(self, config: MethodConfig) -> Tensor:
        """Give the images with which a run begins.

        Args:
            config: Tells how many, and whether they are noise or real.

        Returns:
            Images `[K, S, C, H, W]`, normalised.
        """
        classes = self._train.num_classes
        if config.start == "noise":
            return self.noise((classes, config.ipc, *self._train.image_shape), "start")
        return torch.stack([self.real(label, config.ipc, "start") for label in range(classes)])

    def view(self, strategy: str, purpose: str, *index: int) -> View:
        """Draw one Siamese change for each class (Zhao and Bilen, ICML 2021).

        Args:
            strategy: A settled strategy, such as "dsa:color-crop"; with "none" images stay as they are.
            purpose: What it is for.
            *index: Counters.

        Returns:
            A function from a class and some of its images `[n, C, H, W]` to the changed ones: the same change for all
            images of the class, real or synthetic, differentiable in them.
        """
        if strategy == "none":
            return lambda _, images: images
        operations, shape = siamese_operations(strategy), self._train.image_shape

        def change(label: int, images: Tensor) -> Tensor:
            drawn = draw_siamese(operations, 1, shape, self.generator(purpose, *index, label))
            return apply_siamese(drawn, images)

        return change

    def frozen_buffers(
        self, network: Network, parameters: Parameters, *index: int, purpose: str = "statistics"
    ) -> Parameters:
        """Measure BatchNorm on real images of all classes; no later part of the step changes it.

        Args:
            network: The structure.
            parameters: Its parameters.
            *index: Counters.
            purpose: What the images are for.

        Returns:
            The buffers by name.
        """
        if not network.has_batch_norm:
            return {name: tensor.to(self.device) for name, tensor in network.buffers().items()}
        batches = [
            self.real(label, _STATISTICS_BATCH, purpose, *index) for label in range(self._train.num_classes)
        ]
        return network.measure_statistics(parameters, torch.cat(batches))


def seen_by_class(view: View, images: Tensor) -> Tensor:
    """Change the images of every class by the view of that class.

    Args:
        view: As `Draws.view` gives it.
        images: Images `[K, S, C, H, W]`.

    Returns:
        The changed images `[K, S, C, H, W]`.
    """
    return torch.stack([view(label, own) for label, own in enumerate(images)])


def check_class_sizes(train: ImageSet, config: MethodConfig) -> None:
    """Check that every class can give real starting images, and say once which are drawn with replacement.

    Args:
        train: The real images.
        config: The method's settings.

    Raises:
        InputError: The run begins with real images, and a class has too few.
    """
    sizes = dict(zip(train.class_names, train.class_sizes, strict=True))
    name, smallest = min(sizes.items(), key=lambda item: item[1])
    if config.start == "real" and config.ipc > smallest:
        raise InputError(
            f"ipc is {config.ipc}, but the class {name!r} has only {smallest} images to start from: give a smaller "
            "--ipc or --start noise."
        )
    small = [f"{name} ({size})" for name, size in sizes.items() if size < config.real_batch]
    if small:
        listed = ", ".join(small[:5]) + (", …" if len(small) > 5 else "")
        warnings.warn(
            f"{len(small)} of {train.num_classes} classes have fewer images than the real batch of "
            f"{config.real_batch} and are drawn with replacement: {listed}.",
            stacklevel=5,  # the caller of condense
        )
