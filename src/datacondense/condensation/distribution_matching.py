"""Distribution matching (Zhao and Bilen, WACV 2023): the mean features of each class, on fresh networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.augment.strategies import check_siamese, resolved_strategy
from datacondense.condensation.descent import DescentMethod, FirstOrderConfig, carried_back, differentiated
from datacondense.condensation.feature_distances import (
    characteristic,
    characteristic_distance,
    squared_distance,
    with_attention,
)
from datacondense.condensation.graph_memory import GraphMemory
from datacondense.condensation.method import Start
from datacondense.condensation.real_training import trained_on_real
from datacondense.condensation.sampler import by_class
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching.gradients import used_images
from datacondense.networks.backend import first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.features import activation_maps, embedding_network
from datacondense.networks.graph_size import map_sizes
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Network, Parameters, moved
from datacondense.settings import added, check_at_least, check_momenta, check_probability, check_rates
from datacondense.tensor_files import flattened, group_of
from datacondense.training import SGD, TrainState

_GRAPH_MEMORY = 4096  # MiB, on a processor

Match: TypeAlias = Literal["features", "attention", "characteristic"]


@dataclass(frozen=True, kw_only=True)
class DistributionMatchingConfig(FirstOrderConfig):
    """Settings of distribution matching (Zhao and Bilen, WACV 2023); the defaults are the published ones.

    Attributes:
        start: What the images begin as: "real" images, as published, or "noise".
        image_lr: Learning rate of the images, in normalised pixel units.
        siamese: Siamese augmentation, the same for the real and the synthetic images of a class: "none"; "dsa", all
            operations of Zhao and Bilen (ICML 2021), without mirroring where that changes digits; or "dsa:OPERATIONS"
            out of color, crop, cutout, flip, scale and rotate joined by hyphens.
        match: What is compared of a class: the mean of its "features", as published; with "attention" that of its
            attention maps too (Sajedi et al. 2023, "DataDAM"); or the "characteristic" function of features divided by
            their length (Wang et al. 2025, "NCFM").
        attention_weight: Weight of the squared distance of attention maps beside that of features. By default both move
            the images about equally.
        frequencies: Random frequencies, drawn anew in each step, at which characteristic functions are compared.
        pool: Networks in a pool from which one is matched on after the other, each then trained a little on real
            images (Zhao, G. et al., CVPR 2023, "IDM"); 0: every network is fresh, as published.
        pool_images: Real images, of all classes, on which a network of the pool trains after each of its turns.
        pool_turns: Turns after which a network of the pool gives way to a fresh one.
        network_lr: Learning rate of that training.
        network_momentum: Its momentum, 0 to 1.
        network_batch: Its images per update.
        cutmix: Probability of CutMix (Yun et al. 2019) in a batch of it, 0 to 1.
        graph_memory: MiB that the graph of the synthetic images may take, about; more images are taken in parts, at the
            cost of one more forward pass. Default: 4096 on a processor, and half of what a GPU has free.
    """

    published_iterations: ClassVar[int] = 20000
    _name: ClassVar[str] = "distribution-matching"

    start: Start = "real"
    image_lr: float = 1.0
    siamese: str = "dsa"
    match: Match = added("features")
    attention_weight: float = added(1000.0)
    frequencies: int = added(256)
    pool: int = added(0)
    pool_images: int = added(640)
    pool_turns: int = added(10)
    network_lr: float = added(0.01)
    network_momentum: float = added(0.9)
    network_batch: int = added(64)
    cutmix: float = added(0.0)
    graph_memory: int | None = added(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_siamese(self.siamese)
        if self.match not in get_args(Match):
            raise InputError(f"match is {self.match!r}: choose one of {', '.join(get_args(Match))}.")
        if self.match == "attention" and self.engine == "fused":
            raise InputError(
                "match is 'attention', which the fused layers do not pass on: leave the engine out."
            )
        if not 0 < self.attention_weight < inf:
            raise InputError(f"attention_weight is {self.attention_weight}, but must be a number above 0.")
        check_at_least(self, 0, "pool")
        check_at_least(self, 1, "pool_images", "pool_turns", "network_batch", "frequencies", "graph_memory")
        check_rates(self, "network_lr")
        check_momenta(self, "network_momentum")
        check_probability("cutmix", self.cutmix)
        if self.cutmix and not self.pool:
            raise InputError(
                f"cutmix is {self.cutmix}, but mixes only real images that a pool trains on: give --pool too."
            )

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        siamese = "" if self.siamese == "none" else f", {self.siamese}"
        match = "" if self.match == "features" else f" of {self.match}"
        pool = f", pool trained on {self.pool_images}" if self.pool else ""
        network = network_name(self.network)
        return f"{network} by distribution matching{match}{siamese}{pool}, {self.size}, B = {self.real_batch}"

    def resolved(self, *, may_be_mirrored: bool = True) -> "DistributionMatchingConfig":
        """Return the settings with the augmentation spelled out.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings.
        """
        siamese = resolved_strategy(self.siamese, mirrored=may_be_mirrored)
        engine = "eager" if self.match == "attention" else self.engine
        return replace(self, network=canonical_network(self.network), siamese=siamese, engine=engine)

    @property
    def method(self) -> "type[DistributionMatching]":
        """Distribution matching."""
        return DistributionMatching


class DistributionMatching(DescentMethod[DistributionMatchingConfig]):
    """On each fresh network, once: move every class's mean feature towards that of real images.

    The loss is the sum over classes of `||mean_b f(real_b) - mean_s f(synthetic_s)||²`. The features f are what the
    network computes before its last layer. Networks are fresh, or out of a pool of partly trained ones. Attention maps
    and characteristic functions: see `feature_distances`.
    """

    def __init__(self, settings: DistributionMatchingConfig, train: ImageSet, seed: int) -> None:
        super().__init__(settings, train, seed)
        if settings.pool:  # with its last layer, as it is trained
            self._whole = build_network(settings.network, train.image_shape, train.num_classes)
            self._trainable = first_order_model(self._whole, self.backend)
        self._distance = characteristic_distance if settings.match == "characteristic" else squared_distance
        self._width = 0
        parameters = self.sampler.network(self.network, "network", 0)
        buffers = moved(self.network.buffers(), self.labels.device, self.sampler.dtype)
        self._names = tuple(parameters)
        maps = map_sizes(self.network, parameters, buffers)
        self._at_once = GraphMemory(maps, 0, self.labels.device, settings.graph_memory).images(_GRAPH_MEMORY)
        if settings.match != "features":
            blank = self._grey.new_zeros(2, *train.image_shape)
            self._width = len(self._mean(parameters, buffers, blank, ()))

    @property
    def shares_work(self) -> bool:
        """Whether each class's gradient is its own."""
        return True

    def adapted(self, network: Network) -> Network:
        """Return the network without its last layer."""
        return embedding_network(network)

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once; with a pool, train the network of this turn.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """
        if self.settings.pool == 0:
            return super().step(state, step)
        turn, place = divmod(step.outer, self.settings.pool)
        network = self._in_pool(state, turn, place)
        own = {name: network.parameters[name] for name in self._names}
        loss, gradient = carried_back(
            state.images, self.decoded, partial(self.gradient, step=step, parameters=own)
        )
        new = self.descended(state, gradient, step)
        trained = trained_on_real(
            self._trainable,
            network,
            self.sampler,
            step.outer,
            images=self.settings.pool_images,
            sgd=SGD(
                lr=self.settings.network_lr,
                momentum=self.settings.network_momentum,
                batch_size=self.settings.network_batch,
            ),
            augmentation=self.settings.siamese,
            cutmix=self.settings.cutmix,
            buffers=self.sampler.frozen_buffers(self._whole, network.parameters, *step),
            graphs=self.graphs,
        )
        pool = {"parameters": trained.parameters, "velocity": trained.velocity}
        return replace(new, other={**state.other, **flattened({f"pool {place}": flattened(pool)})}), float(
            loss
        )

    def _in_pool(self, state: State, turn: int, place: int) -> TrainState:
        """Return the network of a place in the pool; fresh ones come at different turns in different places."""
        settings = self.settings
        since = (turn + place * settings.pool_turns // settings.pool) % settings.pool_turns
        kept = group_of(dict(state.other), f"pool {place}")
        if since == 0 or not kept:
            number = turn * settings.pool + place
            return TrainState.begun(self.sampler.network(self._whole, "network", number))
        return TrainState(0, group_of(kept, "parameters"), group_of(kept, "velocity"))

    def gradient(
        self, images: Tensor, step: Step, parameters: Parameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Differentiate the loss through the augmentation, on a fresh network where none is given."""
        if parameters is None:
            parameters = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, parameters, *step)
        view = self.sampler.view(self.settings.siamese, "real view", *step)
        replay = self.graphs.replay
        frequencies: tuple[Tensor, ...] = ()
        if self.settings.match == "characteristic":
            shape = self.settings.frequencies, self._width
            frequencies = (self.sampler.noise(shape, "frequencies", *step),)

        def of_classes(classes: range) -> tuple[Tensor, Tensor]:
            real = torch.stack([
                replay(
                    "real", self._mean, parameters, buffers, view(k, self.real_batch(k, step)), frequencies
                )
                for k in classes
            ])
            own = slice(classes.start, classes.stop)
            sizes = self.sizes[own]

            def compute(seen: Tensor) -> tuple[Tensor, Tensor]:
                loss = partial(differentiated, partial(self._loss, sizes))
                if sum(sizes) > self._at_once:
                    loss = partial(self._in_parts, sizes)
                return replay("synthetic", loss, seen, parameters, buffers, real, frequencies)

            change = partial(by_class, view, first=classes.start)
            loss, gradient = carried_back(images[own], change, compute)
            # One loss of all these classes, in a row for each.
            return F.pad(loss[None], (0, len(sizes) - 1)), gradient

        losses, gradient = self.ranks.gathered(len(images), of_classes)
        return losses.sum(), gradient

    def _compared(
        self, parameters: Parameters, buffers: Parameters, images: Tensor, frequencies: tuple[Tensor, ...]
    ) -> Tensor:
        """Return what is compared of each image, `[N, D]`."""
        run = partial(self.model, parameters, buffers=buffers)
        if self.settings.match == "attention":
            maps, features = activation_maps(self.network, run, images)
            return with_attention(maps, features.flatten(1), self.settings.attention_weight)
        features = run(images).flatten(1)
        return characteristic(features, *frequencies) if frequencies else features

    @torch.no_grad()
    def _mean(
        self, parameters: Parameters, buffers: Parameters, images: Tensor, frequencies: tuple[Tensor, ...]
    ) -> Tensor:
        """Return the mean `[D]` of what is compared of images `[B, C, H, W]`."""
        return self._compared(parameters, buffers, images, frequencies).mean(0)

    def _loss(
        self,
        sizes: Sequence[int],
        images: Tensor,
        parameters: Parameters,
        buffers: Parameters,
        real: Tensor,
        frequencies: tuple[Tensor, ...],
    ) -> Tensor:
        """Compare the means of synthetic images `[K, S, C, H, W]` with those of real ones `[K, D]`."""
        found = self._compared(parameters, buffers, used_images(images, sizes), frequencies)
        return self._distance(real, _means(found, sizes))

    def _in_parts(
        self,
        sizes: Sequence[int],
        images: Tensor,
        parameters: Parameters,
        buffers: Parameters,
        real: Tensor,
        frequencies: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor]:
        """Return the same loss and its gradient in the memory of a part of the images, by one more forward pass.

        The loss sees images through their class means only, so its slope there is all that a part needs to know.
        """
        compared = partial(self._compared, parameters, buffers, frequencies=frequencies)
        parts = used_images(images, sizes).split(self._at_once)
        with torch.no_grad():
            found = torch.cat([compared(part) for part in parts])
        loss, slopes = differentiated(lambda vectors: self._distance(real, _means(vectors, sizes)), found)
        gradients = []
        for part, slope in zip(parts, slopes.split(self._at_once), strict=True):
            leaf = part.detach().requires_grad_()
            gradients += torch.autograd.grad(compared(leaf), leaf, slope)
        leaf = images.detach().requires_grad_()
        return loss, torch.autograd.grad(used_images(leaf, sizes), leaf, torch.cat(gradients))[0]


def _means(vectors: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the class means `[K, D]` of vectors of all images `[N, D]`."""
    return torch.stack([own.mean(0) for own in vectors.split(list(sizes))])
