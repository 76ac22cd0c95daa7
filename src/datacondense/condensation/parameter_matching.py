"""Parameter matching (Zhao, Mopuri, Bilen 2021, section 2.2): images that lead a network where real images lead it."""

from functools import partial

import torch
from torch import Tensor

from datacondense.condensation.method import Sampler, check_class_sizes
from datacondense.condensation.parameter_matching_config import ParameterMatchingConfig
from datacondense.condensation.state import State, Step
from datacondense.image_set import ImageSet
from datacondense.matching.unrolled import InnerStep, unrolled_sgd
from datacondense.networks.builder import build_network
from datacondense.networks.fused import Backend, choose_backend, first_order_model
from datacondense.networks.network import Parameters
from datacondense.training import SGD, train, zero_velocity


class ParameterMatching:
    """For each drawn network: train it on real images, train it on synthetic ones, bring the ends together."""

    def __init__(self, config: ParameterMatchingConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved(train.provenance.get("source", {}).get("name"))
        self._sampler = Sampler(train, seed, config.precision)
        self._network = build_network(config.network, train.image_shape, train.num_classes)
        self._backend = choose_backend(
            self._network, train.images.device, precision=config.precision, engine=config.engine
        )
        self._fast = first_order_model(self._network, self._backend)
        self._labels = torch.arange(train.num_classes, device=train.images.device)
        check_class_sizes(train, config)

    @property
    def backend(self) -> Backend:
        """How derivatives of first order are computed."""
        return self._backend

    def init(self) -> State:
        """Give the images with which the run begins.

        Returns:
            The state before the first step.
        """
        return State.begun(self._sampler.start(self._config))

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once.

        With the parameters θ_0 of a fresh network, θ_T after training on real images and θ_S after training on the
        synthetic ones, the loss is ‖θ_S - θ_T‖² / ‖θ_T - θ_0‖², over all parameters together.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """
        start = self._sampler.network(self._network, "network", step.outer)
        buffers = self._sampler.frozen_buffers(self._network, start, *step)
        target = self._trained_on_real(start, buffers, step)
        leaf = state.images.detach().requires_grad_()
        found = self._trained_on_synthetic(start, buffers, leaf)
        loss = _squared_distance(found, target) / _squared_distance(target, start)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert self._config.image_lr is not None
        new = state.descended(gradient, lr=self._config.image_lr, momentum=self._config.image_momentum)
        return new, float(loss.detach())

    def _trained_on_real(self, parameters: Parameters, buffers: Parameters, step: Step) -> Parameters:
        """Go the steps on real images, each on one batch of all classes."""
        size = self._config.real_batch
        sgd = SGD(lr=self._config.network_lr, batch_size=size * len(self._labels))
        for number in range(self._config.real_steps):
            batches = [self._sampler.real(k, size, "real", *step, number) for k in range(len(self._labels))]
            parameters, _ = train(
                partial(self._fast, buffers=buffers),
                parameters,
                zero_velocity(parameters),
                torch.cat(batches),
                self._labels.repeat_interleave(size),
                sgd=sgd,
                epochs=1,
                generator=self._sampler.generator("order", *step, number),
            )
        return parameters

    def _trained_on_synthetic(
        self, parameters: Parameters, buffers: Parameters, images: Tensor
    ) -> Parameters:
        """Go the steps on all synthetic images, graph kept."""
        assert self._config.inner_lr is not None
        labels = self._labels.repeat_interleave(self._config.ipc)
        step = InnerStep(images.flatten(0, 1), labels, self._config.inner_lr)
        model = partial(self._network, buffers=buffers)
        return unrolled_sgd(model, parameters, [step] * self._config.inner_steps)


def _squared_distance(first: Parameters, second: Parameters) -> Tensor:
    """Add up the squared differences of all parameters."""
    return torch.stack([(first[name] - second[name]).square().sum() for name in first]).sum()
