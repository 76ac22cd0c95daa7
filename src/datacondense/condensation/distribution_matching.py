"""Distribution matching (Zhao and Bilen, WACV 2023): the mean features of each class, on freshly drawn networks."""

from functools import partial

import torch
from torch import Tensor

from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
from datacondense.condensation.method import Sampler, View, check_class_sizes, seen_by_class
from datacondense.condensation.state import State, Step
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.features import embedding_network
from datacondense.networks.fused import Backend, choose_backend, first_order_model
from datacondense.networks.network import Parameters


class DistributionMatching:
    """On each freshly drawn network, once: move every class's mean feature towards that of real images.

    The loss is the sum over classes of `||mean_b f(real_b) - mean_s f(synthetic_s)||²`, f being what the network
    computes before its last layer. Networks are never trained.
    """

    def __init__(self, config: DistributionMatchingConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved(train.provenance.get("source", {}).get("name"))
        self._train = train
        self._sampler = Sampler(train, seed, config.precision)
        self._network = embedding_network(build_network(config.network, train.image_shape, train.num_classes))
        self._backend = choose_backend(
            self._network, train.images.device, precision=config.precision, engine=config.engine
        )
        # Both sides are differentiated once at most: the synthetic one in the pixels alone.
        self._fast = first_order_model(self._network, self._backend)
        check_class_sizes(train, config)

    @property
    def backend(self) -> Backend:
        """How derivatives are computed."""
        return self._backend

    def init(self) -> State:
        """Give the images with which the run begins.

        Returns:
            The state before the first step.
        """
        return State.begun(self._sampler.start(self._config))

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """
        parameters = self._sampler.network(self._network, "network", step.outer)
        buffers = self._sampler.frozen_buffers(self._network, parameters, *step)
        view = self._sampler.view(self._config.siamese, "real view", *step)
        real = self._real_means(parameters, buffers, view, step)
        leaf = state.images.detach().requires_grad_()
        seen = seen_by_class(view, leaf).flatten(0, 1)
        features = self._fast(parameters, seen, buffers).flatten(1)
        synthetic = features.unflatten(0, leaf.shape[:2]).mean(1)
        loss = (real - synthetic).square().sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert self._config.image_lr is not None
        new = state.descended(gradient, lr=self._config.image_lr, momentum=self._config.image_momentum)
        return new, float(loss.detach())

    @torch.no_grad()
    def _real_means(self, parameters: Parameters, buffers: Parameters, view: View, step: Step) -> Tensor:
        """Give the mean features of real images of every class `[K, D]`, a class at a time."""
        features = partial(self._fast, parameters, buffers=buffers)
        size = self._config.real_batch
        return torch.stack([
            features(view(label, self._sampler.real(label, size, "real", *step))).flatten(1).mean(0)
            for label in range(self._train.num_classes)
        ])
