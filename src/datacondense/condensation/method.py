"""What a method is: settings that build it, a first state, and a step from one state to the next."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor

from datacondense.condensation.representative import Representatives
from datacondense.condensation.sampler import Sampler
from datacondense.condensation.state import State, Step
from datacondense.cuda_graphs import CudaGraphs
from datacondense.decoder import check_factor, decode, encode
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching.gradients import used_images
from datacondense.memory_limits import check_memory
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
from datacondense.ranks import current_ranks
from datacondense.settings import (
    IpcOf,
    Named,
    added,
    check_at_least,
    check_rates,
    images_per_class,
)
from datacondense.user_code import name_of

_FLOAT = 4  # bytes of a float32

Start: TypeAlias = Literal["noise", "real"]
RealSampling: TypeAlias = Literal["random", "representative"]


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
        real_sampling: Real images in a batch: "random" ones, or "representative" ones (Liu et al. 2023, "DREAM"), the
            nearest to the centres of as many clusters, by features of the iteration's untrained network.
        representative_every: Steps of the run after which representative images are found anew.
        factor: Tiles a side of each stored image, f (multi-formation, Kim et al. 2022): networks see f² images for
            each, cut out and upsampled, so that the same storage teaches more. "real" images begin shrunk into tiles.
        ipc_of: Other numbers of images for some classes, by their names: CLASS=N,CLASS=N, in Python a mapping.
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
    real_sampling: RealSampling = added("random")
    representative_every: int = added(10)
    factor: int = added(1)
    ipc_of: IpcOf = added(None)
    precision: Precision = "auto"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "ipc", "real_batch", "factor", "representative_every")
        check_rates(self, "image_lr")
        if self.start not in get_args(Start):
            raise InputError(f"start is {self.start!r}, but images begin as 'noise' or as 'real' images.")
        if self.real_sampling not in get_args(RealSampling):
            known = "'random' or 'representative'"
            raise InputError(f"real_sampling is {self.real_sampling!r}, but real images are {known}.")
        if self.real_sampling != "random" and not self.real_batches_per_iteration:
            raise InputError(
                f"real_sampling is {self.real_sampling!r}, but {self.name} draws no real batches of single "
                "classes with these settings: leave it out."
            )
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
    def real_batches_per_iteration(self) -> int:
        """Real batches of each class that an iteration draws; 0 where a method draws none."""
        return self.steps_per_iteration

    @property
    def kind(self) -> str:
        """What a step does, in a few words; steps of one kind take about the same time."""
        return f"{self.name} with {network_name(self.network)}, {self.size}, B = {self.real_batch}"

    @property
    def size(self) -> str:
        """How many images are learned, and how many networks see in each."""
        others = "".join(f", {number} of {name}" for name, number in (self.ipc_of or {}).items())
        found = "" if self.real_sampling == "random" else f", {self.real_sampling}"
        return f"ipc {self.ipc}{others}" + ("" if self.factor == 1 else f", factor {self.factor}") + found

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
        check_factor(self.factor, train.image_shape)
        built = self.method(self.resolved(may_be_mirrored=train.may_be_mirrored), train, seed)
        _check_class_sizes(train, built.settings)
        _check_ranks(built)
        return built


SettingsT = TypeVar("SettingsT", bound=MethodConfig)
T = TypeVar("T")


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
        stored: Stored images of each class. Where they differ, S is the largest, and the rest of a class stays unused.
        sizes: Decoded images of each class.
        ranks: The processes that share a run, and which of them this is.
    """

    def __init__(self, settings: SettingsT, train: ImageSet, seed: int) -> None:
        self.settings, self.ranks = settings, current_ranks()
        self.sampler = Sampler(
            train, seed, torch.float64 if settings.precision == "float64" else torch.float32
        )
        self.labels = torch.arange(train.num_classes, device=train.images.device)
        self.stored = images_per_class(settings.ipc, settings.ipc_of, train.class_names)
        self.sizes = tuple(number * settings.factor**2 for number in self.stored)
        grey = torch.full((1, 1, 1), 0.5, device=train.images.device)
        self._grey = train.normalise(grey).to(
            self.sampler.dtype
        )  # beyond sides that are no multiple of the factor
        network = build_network(settings.network, train.image_shape, train.num_classes)
        self.network = self.adapted(network)
        self.backend = self._choose_backend()
        self.model = first_order_model(self.network, self.backend)
        self._representatives = None
        if settings.real_sampling == "representative":
            self._representatives = Representatives(
                self.sampler,
                network,
                self.backend,
                size=settings.real_batch,
                every=settings.representative_every,
                per_iteration=settings.real_batches_per_iteration,
            )
        self.graphs = CudaGraphs("cpu" if ":" in network_name(settings.network) else self.labels.device)

    @property
    def shares_work(self) -> bool:
        """Whether several processes share the work of a step; others are refused."""
        return False

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
        shape = (len(self.stored), max(self.stored), *self.sampler.train.image_shape)
        if self.settings.start == "noise":
            return State.begun(self.sampler.noise(shape, "start"))
        images = self._grey.new_zeros(shape)
        for label, number in enumerate(self.stored):
            images[label, :number] = self._real_start(label, number)
        return State.begun(images)

    def _real_start(self, label: int, number: int) -> Tensor:
        """Draw the real images with which a class begins, shrunk where a stored image holds several."""
        factor = self.settings.factor
        images = self.sampler.real(label, number * factor**2, "start")
        return images if factor == 1 else encode(images.unflatten(0, (number, -1)), factor)

    def decoded(self, images: Tensor) -> Tensor:
        """Return what networks see of stored images `[K, S, C, H, W]`: `[K, S·f², C, H, W]`, differentiable."""
        factor = self.settings.factor
        return images if factor == 1 else decode(images, factor, self._grey).flatten(1, 2)

    def in_one_batch(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return decoded images `[K, S·f², C, H, W]` as one batch `[N, C, H, W]`, and their classes `[N]`."""
        labels = [label.expand(size) for label, size in zip(self.labels, self.sizes, strict=True)]
        return used_images(images, self.sizes), torch.cat(labels)

    @abstractmethod
    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Return the state after a step, and the loss before it; the state that is given does not change."""

    def real_batch(self, label: int, step: Step, *number: int) -> Tensor:
        """Draw the real batch of a class for a step, by its number where a step has several: `[B, C, H, W]`."""
        if self._representatives is None:
            return self.sampler.real(label, self.settings.real_batch, "real", *step, *number)
        return self._representatives.batch(label, Step(step.outer, *(number or step[1:])))

    def draw_ahead(self, step: Step) -> None:
        """Draw what the step after this one needs, while a GPU computes this one: before its loss is waited for."""
        if self.labels.device.type == "cuda" and self._representatives is None:
            after = step.after(self.settings.steps_per_iteration)
            classes = self.ranks.share(len(self.labels))
            self.sampler.draw_ahead(self.network, self.settings.real_batch, after, classes)

    def fresh_network(self, step: Step) -> Callable[[Tensor], Tensor]:
        """Return an iteration's network as a function of normalised images `[N, C, H, W]`, for first-order derivatives.

        Its BatchNorm is measured on real images and frozen.
        """
        parameters = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, parameters, *step)
        return partial(self.model, parameters, buffers=buffers)


def _check_class_sizes(train: ImageSet, settings: MethodConfig) -> None:
    """Check that there is memory for the synthetic images, and that classes have the real ones to start from."""
    wanted = images_per_class(settings.ipc, settings.ipc_of, train.class_names)
    numbers = len(wanted) * max(wanted) * prod(train.image_shape)
    what = f"{max(wanted)} images of each class and their momentum"
    check_memory(2 * _FLOAT * numbers, what, "give a smaller --ipc")
    for name, size, number in zip(train.class_names, train.class_sizes, wanted, strict=True):
        if settings.start == "real" and number * settings.factor**2 > size:
            each = "" if settings.factor == 1 else f" of {settings.factor**2} tiles"
            raise InputError(
                f"ipc is {number}{each}, but the class {name!r} has only {size} images to start from: give a smaller "
                "--ipc or --start noise."
            )


def _check_ranks(method: Method[Any]) -> None:
    """Check that several processes have something to share."""
    size, classes = method.ranks.size, len(method.labels)
    if size > 1 and not method.shares_work:
        raise InputError(
            f"{method.settings.name} cannot share its work out with these settings, but there are {size} processes: "
            "start one."
        )
    if size > classes:
        raise InputError(
            f"There are {size} processes, but only {classes} classes to share out: start {classes} at most."
        )
