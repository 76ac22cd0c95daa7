"""Distribution matching (Zhao and Bilen, WACV 2023): the mean features of each class, on fresh networks."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from datacondense.augment.strategies import check_siamese, resolved_strategy
from datacondense.condensation.method import (
    DescentMethod,
    FirstOrderConfig,
    Start,
    carried_back,
    differentiated,
)
from datacondense.condensation.sampler import by_class
from datacondense.condensation.state import Step
from datacondense.networks.features import embedding_network
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Network, Parameters


@dataclass(frozen=True, kw_only=True)
class DistributionMatchingConfig(FirstOrderConfig):
    """Settings of distribution matching (Zhao and Bilen, WACV 2023); the defaults are the published ones.

    Attributes:
        start: What the images begin as: "real" images, as published, or "noise".
        image_lr: Learning rate of the images, in normalised pixel units.
        siamese: Siamese augmentation, the same for the real and the synthetic images of a class: "none"; "dsa", all
            operations of Zhao and Bilen (ICML 2021), without mirroring where that changes digits; or "dsa:OPERATIONS"
            out of color, crop, cutout, flip, scale and rotate joined by hyphens.
    """

    published_iterations: ClassVar[int] = 20000
    _name: ClassVar[str] = "distribution-matching"

    start: Start = "real"
    image_lr: float = 1.0
    siamese: str = "dsa"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_siamese(self.siamese)

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        siamese = "" if self.siamese == "none" else f", {self.siamese}"
        return f"{network_name(self.network)} by distribution matching{siamese}, {self.size}, B = {self.real_batch}"

    def resolved(self, *, may_be_mirrored: bool = True) -> "DistributionMatchingConfig":
        """Return the settings with the augmentation spelled out.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings.
        """
        siamese = resolved_strategy(self.siamese, mirrored=may_be_mirrored)
        return replace(self, network=canonical_network(self.network), siamese=siamese)

    @property
    def method(self) -> "type[DistributionMatching]":
        """Distribution matching."""
        return DistributionMatching


class DistributionMatching(DescentMethod[DistributionMatchingConfig]):
    """On each fresh network, once: move every class's mean feature towards that of real images.

    The loss is the sum over classes of `||mean_b f(real_b) - mean_s f(synthetic_s)||²`. The features f are what the
    network computes before its last layer. Networks are never trained.
    """

    def adapted(self, network: Network) -> Network:
        """Return the network without its last layer."""
        return embedding_network(network)

    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Differentiate the loss through the augmentation."""
        parameters = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, parameters, *step)
        view = self.sampler.view(self.settings.siamese, "real view", *step)
        replay = self.graphs.replay
        real = torch.stack([
            replay("real", self._mean_features, parameters, buffers, view(k, self.real_batch(k, step)))
            for k in range(len(images))
        ])

        def compute(seen: Tensor) -> tuple[Tensor, Tensor]:
            loss = partial(differentiated, self._loss)
            return replay("synthetic", loss, seen, parameters, buffers, real)

        return carried_back(images, partial(by_class, view), compute)

    @torch.no_grad()
    def _mean_features(self, parameters: Parameters, buffers: Parameters, images: Tensor) -> Tensor:
        """Return the mean feature of images `[B, C, H, W]`."""
        return self.model(parameters, images, buffers).flatten(1).mean(0)

    def _loss(self, images: Tensor, parameters: Parameters, buffers: Parameters, real: Tensor) -> Tensor:
        """Compare the mean features of synthetic images `[K, S, C, H, W]` with those of real ones."""
        found = self.model(parameters, self.in_one_batch(images)[0], buffers).flatten(1)
        means = torch.stack([own.mean(0) for own in found.split(self.sizes)])
        loss: Tensor = (real - means).square().sum()
        return loss
