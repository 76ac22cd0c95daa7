"""What a method is: settings that build it, a first state, and a step from one state to the next."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor

from datacondense.condensation.sampler import Sampler
from datacondense.condensation.state import State, Step
from datacondense.cuda_graphs import CudaGraphs
from datacondense.data.budget import check_memory
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.backend import (
    Backend,
    Engine,
    Precision,
    check_backend,
    choose_backend,
    first_order_model,
)
from datacondense.networks.builder import build_network
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Network
from datacondense.settings import Named, check_at_least, check_momenta, check_rates
from datacondense.user_code import name_of

_FLOAT = 4  # bytes of a float32

Start: TypeAlias = Literal["noise", "real"]


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings that all methods have.

    Attributes:
        ipc: Images per class to learn.
        network: Network that the images are learned on, such as "convnet", "convnet-w64-d2", "lenet", or your own as
            "package.module:callable".
        start: What the images begin as: "noise" (standard normal after normalisation) or "real" images.
        image_lr: Learning rate of the images, in normalised pixel units. Default: the method's published one.
        real_batch: Real images per class and step. A class with fewer gives all of its own, as in the published code.
        precision: Of first-order derivatives: "bfloat16", "float32", or "auto": bfloat16 where a GPU or the fused
            engine's processor is made for it, else float32. The rest is float32. "float64" is for everything, slow, for
            checks.
        engine: What computes first-order derivatives: "auto" (fused layers where the network and the machine allow
            them), "fused" or "eager" (torch's own layers). Results differ by rounding only.
    """

    published_iterations: ClassVar[int] = 1000  # also of a run that sets no number
    _name: ClassVar[str] = ""

    ipc: int = 1
    network: Named = "convnet"
    start: Start = "noise"
    image_lr: float | None = None
    real_batch: int = 256
    precision: Precision = "auto"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "ipc", "real_batch")
        check_rates(self, "image_lr")
        if self.start not in get_args(Start):
            raise InputError(f"start is {self.start!r}, but images begin as 'noise' or as 'real' images.")
        check_backend(self.engine, self.precision)

    @property
    def name(self) -> str:
        """A built-in name, or "package.module:Class" of one's own."""
        return self._name or name_of(type(self))

    @property
    def steps_per_iteration(self) -> int:
        """Updates of the images on one fresh network."""
        return 1

    @property
    def kind(self) -> str:
        """What a step does, in a few words; steps of one kind take about the same time."""
        return f"{self.name} with {network_name(self.network)}, ipc {self.ipc}, B = {self.real_batch}"

    def resolved(self, *, may_be_mirrored: bool = True) -> "MethodConfig":
        """Return the settings with every default filled in and the network by its canonical name.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings; to resolve them again changes nothing.
        """
        return replace(self, network=canonical_network(self.network))

    @property
    def method(self) -> "type[Method[Any]]":
        """The class that carries these settings out."""
        raise NotImplementedError

    def build(self, train: ImageSet, seed: int) -> "Method[Any]":
        """Build the method for one data set.

        Args:
            train: The real images, on the device that computes.
            seed: Seed of everything that is drawn.

        Returns:
            The method, its settings resolved.

        Raises:
            InputError: The network cannot take these images, `start` needs more real images than a class has, or
                another setting does not fit them.
        """
        built = self.method(self.resolved(may_be_mirrored=train.may_be_mirrored), train, seed)
        _check_class_sizes(train, built.settings)
        return built


SettingsT = TypeVar("SettingsT", bound=MethodConfig)


class Method(ABC, Generic[SettingsT]):
    """One method on one data set.

    Attributes:
        settings: Its settings, resolved.
        sampler: Draws networks and real images.
        network: The network whose parameters are drawn anew in every iteration.
        backend: How first-order derivatives are computed.
        model: The network in its fastest form for first-order derivatives.
        graphs: What a GPU captures of the steps; nothing of a user's own network, which may do what no graph repeats.
        labels: The classes `[K]`.
    """

    def __init__(self, settings: SettingsT, train: ImageSet, seed: int) -> None:
        self.settings = settings
        self.sampler = Sampler(
            train, seed, torch.float64 if settings.precision == "float64" else torch.float32
        )
        self.labels = torch.arange(train.num_classes, device=train.images.device)
        self.network = self.adapted(build_network(settings.network, train.image_shape, train.num_classes))
        self.backend = self._choose_backend()
        self.model = first_order_model(self.network, self.backend)
        self.graphs = CudaGraphs("cpu" if ":" in network_name(settings.network) else self.labels.device)

    @property
    def backend_facts(self) -> dict[str, str]:
        """How steps are computed here, for provenance: engine, precision, and what is peculiar to the device."""
        steps = "captured" if self.graphs.captures else "eager"
        if self.graphs.eager:
            steps = f"captured in part: {next(iter(self.graphs.eager.values()))}"
        on_gpu = self.labels.device.type == "cuda"
        return {**self.backend._asdict(), **({"steps": steps} if on_gpu or self.graphs.captures else {})}

    def _choose_backend(self) -> Backend:
        device, settings = self.labels.device, self.settings
        return choose_backend(self.network, device, precision=settings.precision, engine=settings.engine)

    def adapted(self, network: Network) -> Network:
        """Return the network in the form that the method needs; as it is, unless a method overrides this."""
        return network

    def init(self) -> State:
        """Return the state before the first step: noise or real images at rest, equal at every call."""
        settings, sampler = self.settings, self.sampler
        if settings.start == "real":
            images = torch.stack([sampler.real(k, settings.ipc, "start") for k in range(len(self.labels))])
        else:
            images = sampler.noise((len(self.labels), settings.ipc, *sampler.train.image_shape), "start")
        return State.begun(images)

    @abstractmethod
    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Return the state after a step, and the loss before it; the state that is given does not change."""

    def real_batch(self, label: int, step: Step) -> Tensor:
        """Draw the real batch of a class for a step: normalised images `[B, C, H, W]`."""
        return self.sampler.real(label, self.settings.real_batch, "real", *step)

    def draw_ahead(self, step: Step) -> None:
        """Draw what the step after this one needs, while a GPU computes this one: before its loss is waited for."""
        if self.labels.device.type == "cuda":
            after = step.after(self.settings.steps_per_iteration)
            self.sampler.draw_ahead(self.network, self.settings.real_batch, after)

    def fresh_network(self, step: Step) -> Callable[[Tensor], Tensor]:
        """Return an iteration's network as a function of normalised images `[N, C, H, W]`, for first-order derivatives.

        Its BatchNorm is measured on real images and frozen.
        """
        parameters = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, parameters, *step)
        return partial(self.model, parameters, buffers=buffers)


@dataclass(frozen=True, kw_only=True)
class FirstOrderConfig(MethodConfig):
    """Settings of methods that move the images against the gradient of a loss, by SGD with momentum.

    Attributes:
        image_lr: Learning rate of the images, in normalised pixel units.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
    """

    image_lr: float = 0.1
    image_momentum: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_momenta(self, "image_momentum")


FirstOrderT = TypeVar("FirstOrderT", bound=FirstOrderConfig)


class DescentMethod(Method[FirstOrderT]):
    """A method that moves the images, and what it learns beside them, against a gradient."""

    @abstractmethod
    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Compute the loss of normalised synthetic images `[K, S, C, H, W]`, and its gradient in them."""

    def gradients(
        self, images: Tensor, learned: Mapping[str, Tensor], step: Step
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compute the loss of the images, its gradient in them, and those in what is learned beside them, by name."""
        return *self.gradient(images, step), {}

    @property
    def learned_lrs(self) -> dict[str, float]:
        """Learning rates of what is learned beside the images, by name."""
        return {}

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """
        loss, gradient, beside = self.gradients(state.images, state.learned, step)
        settings = self.settings
        new = state.descended(gradient, lr=settings.image_lr, momentum=settings.image_momentum)
        new = new.learned_descended(beside, lrs=self.learned_lrs, momentum=settings.image_momentum)
        self.draw_ahead(step)
        return new, float(loss)


class FirstOrderMethod(DescentMethod[FirstOrderT]):
    """A method that is a loss: the images move against its gradient."""

    @abstractmethod
    def loss(self, images: Tensor, step: Step) -> Tensor:
        """Compute the loss of the synthetic images.

        Args:
            images: Normalised synthetic images `[K, S, C, H, W]`, which require a gradient.
            step: Which step this is.

        Returns:
            A scalar, differentiable in the images.
        """

    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Differentiate the loss.

        Args:
            images: Normalised synthetic images `[K, S, C, H, W]`.
            step: Which step this is.

        Returns:
            The loss, and its gradient `[K, S, C, H, W]`.
        """
        return differentiated(partial(self.loss, step=step), images)


def differentiated(loss: Callable[..., Tensor], images: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Return a loss of images and other arguments, and its gradient in the images, without a graph."""
    leaf = images.detach().requires_grad_()
    value = loss(leaf, *arguments)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def _check_class_sizes(train: ImageSet, settings: MethodConfig) -> None:
    """Check that there is memory for the synthetic images, and that classes have the real ones to start from."""
    numbers = train.num_classes * settings.ipc * prod(train.image_shape)
    what = f"{settings.ipc} images of each class and their momentum"
    check_memory(2 * _FLOAT * numbers, what, "give a smaller --ipc")
    sizes = dict(zip(train.class_names, train.class_sizes, strict=True))
    name, smallest = min(sizes.items(), key=lambda item: item[1])
    if settings.start == "real" and settings.ipc > smallest:
        raise InputError(
            f"ipc is {settings.ipc}, but the class {name!r} has only {smallest} images to start from: give a smaller "
            "--ipc or --start noise."
        )
