"""Distribution matching (Zhao and Bilen, WACV 2023): the mean features of each class, on freshly drawn networks."""

from functools import partial

import torch
from torch import Tensor

from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
from datacondense.condensation.method import Draws, View, check_class_sizes, seen_by_class
from datacondense.condensation.state import Position, State
from datacondense.image_set import ImageSet
from datacondense.networks import (
    Computation,
    Parameters,
    build_network,
    choose_computation,
    embedding_network,
    once_differentiable,
)


class DistributionMatching:
    """On each freshly drawn network, once: move every class's mean feature towards that of real images.

    The loss is the sum over classes of `||mean_b f(real_b) - mean_s f(synthetic_s)||²`, f being what the network
    computes before its last layer. Networks are never trained.
    """

    def __init__(self, config: DistributionMatchingConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved(train.record.get("source", {}).get("name"))
        self._train = train
        self._draws = Draws(train, seed, config.precision)
        self._network = embedding_network(build_network(config.network, train.image_shape, train.num_classes))
        self._computation = choose_computation(
            self._network, train.images.device, precision=config.precision, engine=config.engine
        )
        # Both sides are differentiated once at most: the synthetic one in the pixels alone.
        self._fast = once_differentiable(self._network, self._computation)
        check_class_sizes(train, config)

    @property
    def computation(self) -> Computation:
        """How derivatives are computed."""
        return self._computation

    def init(self) -> State:
        """Give the images with which the run begins.

        Returns:
            The state before the first step.
        """
        return State.begun(self._draws.start(self._config))

    def step(self, state: State, position: Position) -> tuple[State, float]:
        """Move the images once.

        Args:
            state: As the step before left it.
            position: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """
        parameters = self._draws.network(self._network, "network", position.draw)
        buffers = self._draws.frozen_buffers(self._network, parameters, *position)
        view = self._draws.view(self._config.siamese, "real view", *position)
        real = self._real_means(parameters, buffers, view, position)
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
    def _real_means(
        self, parameters: Parameters, buffers: Parameters, view: View, position: Position
    ) -> Tensor:
        """Give the mean features of real images of every class `[K, D]`, a class at a time."""
        features = partial(self._fast, parameters, buffers=buffers)
        size = self._config.real_batch
        return torch.stack([
            features(view(label, self._draws.real(label, size, "real", *position))).flatten(1).mean(0)
            for label in range(self._train.num_classes)
        ])
