"""Dataset condensation with gradient matching (Zhao, Mopuri, Bilen, ICLR 2021): Algorithm 1 as `init` and `step`."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, ClassVar

from torch import Tensor

from datacondense.augment.strategies import changed, check_siamese, resolved_strategy
from datacondense.condensation.descent import carried_back
from datacondense.condensation.graph_memory import GraphMemory
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.real_training import trained_on_real
from datacondense.condensation.sampler import by_class
from datacondense.condensation.schedule import published_schedule
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching.class_collective import class_collective_gradient
from datacondense.matching.class_gradients import obstacle
from datacondense.matching.distances import check_distance, distance_named
from datacondense.matching.gradients import Objective, compared_parameters, matching_gradient
from datacondense.matching.pixel_filter import shrink_pixels
from datacondense.matching.transforms import check_applicable, parse_transform, transform_named
from datacondense.networks.backend import of_all_numbers
from datacondense.networks.graph_size import map_sizes
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Parameters, moved
from datacondense.settings import (
    REPEATED,
    Named,
    added,
    check_at_least,
    check_momenta,
    check_probability,
    check_rates,
    narrowed,
)
from datacondense.training import SGD, TrainState, train, zero_velocity

_PERTURBATION = 0.1  # deviation, in normalised units, of the noise that shows which entries are sensitive


@dataclass(frozen=True, kw_only=True)
class GradientMatchingConfig(MethodConfig):
    """Settings of gradient matching; the defaults are the published ones.

    Attributes:
        image_lr: Learning rate of the images, in normalised pixel units. Default: 0.1, and 0.01 for mlp.
        distance: How gradients are compared: "layerwise-cosine" (the paper's), "flat-cosine", "squared", "absolute", or
            your own as "package.module:callable".
        transform: What is applied to both gradients first, in order; repeat the option for several: "max-pool-1",
            "mean-pool-2", "abs-max-pool-1", "keep-magnitude:FRACTION", "keep-stable:FRACTION",
            "keep-sensitive:FRACTION" (with "-global" for a rank over all layers), "keep-snr:RATIO",
            "wiener:SUBBATCHES", or your own as "package.module:name".
        class_collective: Match the mean of the classes' gradients (Lee et al. 2022) instead of each class's own (the
            paper's): what a network requires of all classes alike cancels.
        compare: Parameters whose gradients are compared: "weights" (the paper's: no biases, no norm vectors),
            "convolutions", "all", or name patterns such as "features.*".
        siamese: Siamese augmentation, the same for the real and the synthetic images of a class and differentiated
            through: "none"; "dsa", one of the operations of Zhao and Bilen (ICML 2021), without mirroring where that
            changes digits; "idc", several of them at once; or "dsa:OPERATIONS" or "idc:OPERATIONS" out of color, crop,
            cutout, flip, scale and rotate joined by hyphens. The network's training is augmented likewise.
        matching_steps: Steps on one network, T. Default: the published rule for this ipc.
        network_epochs: Passes that train the network between two steps, ς. Default: the published rule for this ipc; 1
            over real images.
        train_on_real: Real images that train the network in the place of the synthetic ones (Kim et al. 2022); 0: none.
        cutmix: Probability of CutMix (Yun et al. 2019) in a batch of that training, 0 to 1.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
        shrink_pixels: Shrink each pixel's gradient by its signal-to-noise ratio over the last steps, before it moves
            the images.
        iterate_averaging: Return the average of the images over all steps, step t weighing about t³, instead of the
            last images: what single networks and batches require of the pixels averages out.
        network_lr: Learning rate of the network's training between steps.
        network_momentum: Momentum of the network's training, reset in every iteration, 0 to 1: 0.5 as in the code that
            gave the published numbers; later releases of it use 0.
        network_batch: Images per network update.
        graph_memory: MiB that a graph for second derivatives may take, about: as many classes share one as fit.
            Default: 256 on a processor, where more brings nothing, and half of what a GPU has free.
    """

    _name: ClassVar[str] = "gradient-matching"

    distance: Named = "layerwise-cosine"
    transform: Annotated[tuple[Named, ...], REPEATED] = ()
    class_collective: bool = False
    compare: str = "weights"
    siamese: str = "none"
    matching_steps: int | None = None
    network_epochs: int | None = None
    train_on_real: int = added(0)
    cutmix: float = added(0.0)
    image_momentum: float = 0.5
    shrink_pixels: bool = False
    iterate_averaging: bool = False
    network_lr: float = 0.01
    network_momentum: float = 0.5
    network_batch: int = 256
    graph_memory: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "matching_steps", "network_batch", "graph_memory")
        check_at_least(self, 0, "network_epochs", "train_on_real")
        check_rates(self, "network_lr")
        check_momenta(self, "image_momentum", "network_momentum")
        check_probability("cutmix", self.cutmix)
        check_distance(self.distance)
        check_siamese(self.siamese)
        if self.cutmix and not self.train_on_real:
            raise InputError(
                f"cutmix is {self.cutmix}, but mixes only real images that networks train on: give --train-on-real too."
            )
        given: object = self.transform
        if isinstance(given, str):
            raise InputError(f"transform is {given!r}, but must be a list: give [{given!r}].")
        for name in self.transform:
            parse_transform(name)
        if self.class_collective and self.ipc_of:
            raise InputError(
                "ipc_of goes with class_collective only where classes have equally many images: leave one of them out."
            )

    @property
    def steps_per_iteration(self) -> int:
        """Updates of the images on one fresh network."""
        return self.matching_steps or published_schedule(self.ipc).matching_steps

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        siamese = [] if self.siamese == "none" else [self.siamese]
        collective = ["class-collective"] if self.class_collective else []
        changed = "".join(f", {name}" for name in (*self._transform_names(), *collective, *siamese))
        on = f" of {self.train_on_real} real images" if self.train_on_real else ""
        trained = "" if self.steps_per_iteration == 1 else f", {self.network_epochs} epochs{on} between"
        return f"{network_name(self.network)}{changed}{trained}, {self.size}, B = {self.real_batch}"

    def resolved(self, *, may_be_mirrored: bool = True) -> "Resolved":
        """Return the settings with the published schedule and rate filled in.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings.
        """
        schedule = published_schedule(self.ipc)
        network = canonical_network(self.network)
        epochs = self.network_epochs
        if epochs is None:
            epochs = 1 if self.train_on_real else schedule.network_epochs
        return narrowed(
            Resolved,
            self,
            network=network,
            transform=self._transform_names(),
            siamese=resolved_strategy(self.siamese, mirrored=may_be_mirrored),
            matching_steps=self.matching_steps or schedule.matching_steps,
            network_epochs=epochs,
            image_lr=self.image_lr or (0.01 if network == "mlp" else 0.1),
        )

    @property
    def method(self) -> "type[GradientMatching]":
        """Gradient matching."""
        return GradientMatching

    def _transform_names(self) -> tuple[Named, ...]:
        """Return the transforms, built-in ones by the one name of each."""
        return tuple(str(parse_transform(name)) if isinstance(name, str) else name for name in self.transform)


@dataclass(frozen=True, kw_only=True)
class Resolved(GradientMatchingConfig):
    """Settings without None.

    Attributes:
        image_lr: Learning rate of the images.
        matching_steps: Steps on one network.
        network_epochs: Passes between two of them.
    """

    image_lr: float = field()
    matching_steps: int = field()
    network_epochs: int = field()


class GradientMatching(Method[Resolved]):
    """Algorithm 1: on each fresh network, T times: move the images, then train the network on them."""

    def __init__(self, settings: Resolved, train: ImageSet, seed: int) -> None:
        super().__init__(settings, train, seed)
        parameters = self.sampler.network(self.network, "network", 0)
        compared = compared_parameters(parameters, settings.compare)
        transforms = tuple(transform_named(name) for name in settings.transform)
        smallest = min(settings.real_batch, *train.class_sizes)
        check_applicable(transforms, [parameters[name] for name in compared], self.network.name, smallest)
        buffers = moved(self.network.buffers(), self.labels.device, self.sampler.dtype)
        numbers = {**parameters, **buffers}
        models = [of_all_numbers(network, buffers) for network in (self.network, self.model)]
        # Why gradients do not come apart by class, on the synthetic and on the real side; None where they do: those of
        # the library's networks, but for the vectors that fused layers take. For large ones a trial takes seconds.
        own = ":" in self.network.name
        fused = self.backend.engine == "fused" and any(parameters[name].dim() < 2 for name in compared)
        self.obstacles = (
            obstacle(models[0], numbers, compared, train.image_shape) if own else None,
            obstacle(models[1], numbers, compared, train.image_shape) if own or fused else None,
        )
        maps = map_sizes(self.network, parameters, buffers)
        given = (maps, self.network.num_parameters, self.labels.device, settings.graph_memory)
        memory = GraphMemory(*given, self.ranks.size)
        together = memory.for_matching if self.shares_work else memory.for_their_mean
        synthetic, real = together(self.sizes, settings.real_batch, self.obstacles, train.class_sizes)
        self._objective = Objective(
            model=models[0],
            real_model=models[1],
            compared=compared,
            distance=distance_named(settings.distance),
            transforms=transforms,
            shares_pass=self.obstacles[0] is None,
            real_shares_pass=self.obstacles[1] is None,
            classes_at_once=synthetic,
            real_classes_at_once=real,
            graphs=self.graphs,
        )

    @property
    def shares_work(self) -> bool:
        """Whether each class's gradient is its own."""
        return not self.settings.class_collective

    @property
    def backend_facts(self) -> dict[str, str]:
        """How steps are computed here; classes one by one where the network's gradients do not come apart."""
        sides = zip(("synthetic", "real"), self.obstacles, strict=True)
        alone = {f"{side} classes": f"one by one: {reason}" for side, reason in sides if reason is not None}
        return {**super().backend_facts, **alone}

    def init(self) -> State:
        """Return the images with which the run begins."""
        state = super().init()
        return state.averaged() if self.settings.iterate_averaging else state

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once, and train the network unless the iteration ends here."""
        settings = self.settings
        parameters, velocity = state.parameters, state.parameter_velocity
        if step.inner == 0:
            parameters = self.sampler.network(self.network, "network", step.outer)
            velocity = zero_velocity(parameters)
        buffers = self.sampler.frozen_buffers(self.network, parameters, *step)
        distances, gradient = self._matching_gradient(state.images, parameters, buffers, "real", *step)
        moments, number = None, step.number(settings.matching_steps)
        if settings.shrink_pixels:
            gradient, moments = shrink_pixels(gradient, state.moments, number)
        new = state.descended(gradient, lr=settings.image_lr, momentum=settings.image_momentum, number=number)
        if step.inner + 1 < settings.matching_steps:
            trained = self._trained(TrainState(0, parameters, velocity), buffers, new.images, step)
            _, parameters, velocity = trained
        new = replace(new, parameters=parameters, parameter_velocity=velocity, moments=moments)
        self.draw_ahead(step)
        return new, float(distances.sum())

    def probe(self, images: Tensor, *, network: int, batch: int) -> Tensor:
        """Return the gradient `[K, S, C, H, W]` that a fresh network and a fresh real batch require of the pixels.

        No run ever draws these two; equal numbers, from 0, give equal ones.
        """
        parameters = self.sampler.network(self.network, "probe network", network)
        buffers = self.sampler.frozen_buffers(self.network, parameters, network, purpose="probe statistics")
        return self._matching_gradient(images, parameters, buffers, "probe", batch)[1]

    def _matching_gradient(
        self, images: Tensor, parameters: Parameters, buffers: Parameters, purpose: str, *index: int
    ) -> tuple[Tensor, Tensor]:
        """Compare with real batches that are drawn for a purpose and an index."""
        settings, sampler = self.settings, self.sampler

        def perturbed(real: Tensor, label: int) -> Tensor:
            return real + _PERTURBATION * sampler.noise((*real.shape,), f"{purpose} noise", *index, label)

        def real(label: int) -> Tensor:
            if purpose == "real":
                return self.real_batch(label, Step(*index))
            return sampler.real(label, settings.real_batch, purpose, *index)

        objective = replace(self._objective, perturbed=perturbed)
        numbers = {**parameters, **buffers}
        view = sampler.view(settings.siamese, f"{purpose} view", *index)
        plain = settings.siamese == "none"

        def of_classes(classes: range) -> tuple[Tensor, Tensor]:
            own, first = slice(classes.start, classes.stop), classes.start
            match = partial(matching_gradient, sizes=self.sizes[own], first=first)
            return carried_back(
                images[own],
                self.decoded if plain else lambda stored: by_class(view, self.decoded(stored), first),
                lambda seen: (class_collective_gradient if settings.class_collective else match)(
                    objective, numbers, lambda label: view(label, real(label)), seen
                ),
            )

        return self.ranks.gathered(len(images), of_classes)

    def _trained(self, start: TrainState, buffers: Parameters, images: Tensor, step: Step) -> TrainState:
        """Train the network on synthetic or real images, each augmented in its own way where the method augments."""
        settings = self.settings
        sgd = SGD(
            lr=settings.network_lr, momentum=settings.network_momentum, batch_size=settings.network_batch
        )
        if settings.train_on_real:
            return trained_on_real(
                self.model,
                start,
                self.sampler,
                step.number(settings.matching_steps),
                images=settings.train_on_real,
                sgd=sgd,
                augmentation=settings.siamese,
                cutmix=settings.cutmix,
                epochs=settings.network_epochs,
                buffers=buffers,
                graphs=self.graphs,
            )
        order, change = (self.sampler.generator(purpose, *step) for purpose in ("order", "augmentation"))
        return train(
            self.model,
            start,
            *self.in_one_batch(self.decoded(images)),
            epochs=settings.network_epochs,
            sgd=lambda _: sgd,
            order=lambda _: order,
            change=lambda _: partial(changed, settings.siamese, generator=change),
            buffers=buffers,
            graphs=self.graphs,
        )
