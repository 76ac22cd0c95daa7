"""Dataset condensation with gradient matching (Zhao, Mopuri, Bilen, ICLR 2021): Algorithm 1 as `init` and `step`."""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from datacondense.condensation.schedule import Schedule, published_schedule
from datacondense.condensation.state import Position, State
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching import PRECISIONS, compared_parameters, distance_named, matching_gradient
from datacondense.networks import Parameters, build_network
from datacondense.random_streams import stream
from datacondense.training import SGD, train, zero_velocity

_STATISTICS_BATCH = 16  # real images per class on which BatchNorm is measured, as published


@dataclass(frozen=True, kw_only=True)
class GradientMatchingConfig:
    """Settings of gradient matching; the defaults are the published ones.

    Attributes:
        ipc: Images per class to learn.
        network: Name of the network whose gradients are matched, such as "convnet", "convnet-w64-d2", "lenet", or
            your own as "package.module:callable".
        distance: How gradients are compared: "layerwise-cosine" (the paper's), "flat-cosine" or "squared".
        compare: Parameters whose gradients are compared: "weights" (the paper's: no biases, no norm vectors), "all",
            or name patterns such as "features.*".
        start: What the images begin as: "noise" (standard normal after normalisation) or "real" images.
        matching_steps: Image updates on one network, T. Default: the published rule for this ipc.
        network_epochs: Passes over the synthetic images that train the network between two image updates, ς.
            Default: the published rule for this ipc.
        image_lr: Learning rate of the images, in normalised pixel units. Default: 0.1, and 0.01 for an MLP.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
        network_lr: Learning rate of the network's training between image updates.
        network_momentum: Momentum of the network's training, begun anew in every outer draw, 0 to 1: 0.5 as in the
            code that gave the published numbers; later releases of it use 0.
        network_batch: Synthetic images per network update.
        real_batch: Real images per class that give the gradient to match. A class with fewer is drawn with
            replacement.
        precision: "float32"; "bfloat16" for the real images' gradients, faster where the processor has it; or
            "float64" for everything, slow, for checks.
    """

    ipc: int = 1
    network: str = "convnet"
    distance: str = "layerwise-cosine"
    compare: str = "weights"
    start: Literal["noise", "real"] = "noise"
    matching_steps: int | None = None
    network_epochs: int | None = None
    image_lr: float | None = None
    image_momentum: float = 0.5
    network_lr: float = 0.01
    network_momentum: float = 0.5
    network_batch: int = 256
    real_batch: int = 256
    precision: Literal["float64", "float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("ipc", "matching_steps", "network_batch", "real_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, but must be 1 or more.")
        if self.network_epochs is not None and self.network_epochs < 0:
            raise InputError(f"network_epochs is {self.network_epochs}, but must be 0 or more.")
        for name in ("image_lr", "network_lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value}, but a learning rate must be a number above 0.")
        for name in ("image_momentum", "network_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least 0 and below 1.")
        if self.start not in {"noise", "real"}:
            raise InputError(f"start is {self.start!r}, but images begin as 'noise' or as 'real' images.")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is {self.precision!r}: choose one of {', '.join(PRECISIONS)}.")
        distance_named(self.distance)

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "gradient-matching"

    def resolved(self) -> "GradientMatchingConfig":
        """Fill in the defaults that depend on other settings.

        Returns:
            The settings without None.
        """
        schedule = published_schedule(self.ipc)
        return replace(
            self,
            matching_steps=self.matching_steps or schedule.matching_steps,
            network_epochs=schedule.network_epochs if self.network_epochs is None else self.network_epochs,
            image_lr=self.image_lr or (0.01 if self.network == "mlp" else 0.1),
        )

    def build(self, train: ImageSet, seed: int) -> "GradientMatching":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images, no parameter would be compared, or `start` asks for
                more real images than a class has.
        """
        return GradientMatching(self, train, seed)


class GradientMatching:
    """Algorithm 1: on each freshly drawn network, T times: move the images, then train the network on them."""

    def __init__(self, config: GradientMatchingConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved()
        self._train = train
        self._seed = seed
        self._network = build_network(config.network, train.image_shape, train.num_classes)
        parameters = self._network.draw(stream(seed, "network", 0))
        self._compared = compared_parameters(parameters, config.compare)
        self._distance = distance_named(config.distance)
        self._labels = torch.arange(train.num_classes, device=train.images.device)
        if config.start == "real":
            _check_enough_images(train, config.ipc)
        _mention_small_classes(train, config.real_batch)

    @property
    def schedule(self) -> Schedule:
        """Matching steps of one outer draw, and network epochs between two of them."""
        assert self._config.matching_steps is not None
        assert self._config.network_epochs is not None
        return Schedule(self._config.matching_steps, self._config.network_epochs)

    def init(self) -> State:
        """Give the images with which the run begins.

        Returns:
            The state before the first step; its network is drawn by that step.
        """
        shape = (self._train.num_classes, self._config.ipc, *self._train.image_shape)
        if self._config.start == "noise":
            images = self._moved(torch.randn(shape, generator=stream(self._seed, "start")))
        else:
            chosen = [self._real(label, self._config.ipc, "start") for label in range(shape[0])]
            images = torch.stack(chosen)
        return State(images=images, velocity=torch.zeros_like(images), parameters={}, parameter_velocity={})

    def step(self, state: State, position: Position) -> tuple[State, float]:
        """Move the images once, and train the network unless the draw ends here.

        Args:
            state: As the step before left it.
            position: Which step this is.

        Returns:
            The new state, and the matching loss: the sum over classes of their distance, before the update.
        """
        parameters, parameter_velocity = state.parameters, state.parameter_velocity
        if position.step == 0:
            drawn = self._network.draw(stream(self._seed, "network", position.draw))
            parameters = {name: self._moved(tensor) for name, tensor in drawn.items()}
            parameter_velocity = zero_velocity(parameters)
        model = partial(self._network, buffers=self._frozen_buffers(parameters, position))
        distances, gradient = matching_gradient(
            model,
            parameters,
            self._compared,
            lambda label: self._real(label, self._config.real_batch, "real", *position),
            state.images,
            distance=self._distance,
            precision=self._config.precision,
        )
        velocity = self._config.image_momentum * state.velocity + gradient
        assert self._config.image_lr is not None
        images = state.images - self._config.image_lr * velocity
        if position.step + 1 < self.schedule.matching_steps:
            parameters, parameter_velocity = train(
                model,
                parameters,
                parameter_velocity,
                images.flatten(0, 1),
                self._labels.repeat_interleave(self._config.ipc),
                sgd=SGD(
                    lr=self._config.network_lr,
                    momentum=self._config.network_momentum,
                    batch_size=self._config.network_batch,
                ),
                epochs=self.schedule.network_epochs,
                generator=stream(self._seed, "order", *position),
            )
        new = State(
            images=images,
            velocity=velocity,
            parameters=parameters,
            parameter_velocity=parameter_velocity,
        )
        return new, float(distances.sum())

    def _moved(self, tensor: Tensor) -> Tensor:
        """Bring what was drawn on the CPU in float32 to where and how the run computes."""
        dtype = torch.float64 if self._config.precision == "float64" else torch.float32
        return tensor.to(self._train.images.device, dtype)

    def _real(self, label: int, size: int, purpose: str, *index: int) -> Tensor:
        """Draw normalised real images of one class `[size, C, H, W]`; with replacement only where too few exist."""
        members = self._train.class_indices[label]
        generator = stream(self._seed, purpose, *index, label)
        # Without replacement where the class is large enough, as published.
        if size <= len(members):
            chosen = torch.randperm(len(members), generator=generator)[:size]
        else:
            chosen = torch.randint(len(members), (size,), generator=generator)
        return self._moved(self._train.normalised(members[chosen.to(members.device)]))

    def _frozen_buffers(self, parameters: Parameters, position: Position) -> Parameters:
        """Measure BatchNorm on real images of all classes; no later step of this matching step changes it."""
        if not self._network.has_batch_norm:
            device = self._train.images.device
            return {name: tensor.to(device) for name, tensor in self._network.buffers().items()}
        batches = [
            self._real(label, _STATISTICS_BATCH, "statistics", *position)
            for label in range(self._train.num_classes)
        ]
        return self._network.measure_statistics(parameters, torch.cat(batches))


def _check_enough_images(train: ImageSet, ipc: int) -> None:
    """Check that every class can give its real starting images."""
    smallest = min(range(train.num_classes), key=lambda label: train.class_sizes[label])
    if ipc > train.class_sizes[smallest]:
        raise InputError(
            f"ipc is {ipc}, but the class {train.class_names[smallest]!r} has only {train.class_sizes[smallest]} "
            "images to start from: give a smaller --ipc or --start noise."
        )


def _mention_small_classes(train: ImageSet, batch: int) -> None:
    """Say once which classes are drawn with replacement."""
    small = [
        f"{name} ({size})"
        for name, size in zip(train.class_names, train.class_sizes, strict=True)
        if size < batch
    ]
    if small:
        listed = ", ".join(small[:5]) + (", …" if len(small) > 5 else "")
        warnings.warn(
            f"{len(small)} of {train.num_classes} classes have fewer images than the real batch of {batch} and are "
            f"drawn with replacement: {listed}.",
            stacklevel=5,  # the caller of condense
        )
