"""Dataset condensation with gradient matching (Zhao, Mopuri, Bilen, ICLR 2021): Algorithm 1 as `init` and `step`."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from datacondense.augment.by_name import augmented
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.method import Sampler, check_class_sizes, seen_by_class
from datacondense.condensation.state import State, Step
from datacondense.image_set import ImageSet
from datacondense.matching.distances import distance_named
from datacondense.matching.gradients import (
    Objective,
    class_collective_gradient,
    compared_parameters,
    matching_gradient,
)
from datacondense.matching.pixel_filter import shrink_pixels
from datacondense.matching.transforms import check_applicable, transform_named
from datacondense.networks.builder import build_network
from datacondense.networks.fused import Backend, choose_backend, first_order_model
from datacondense.networks.network import Parameters
from datacondense.networks.stacked import bytes_of_graph, stack_network
from datacondense.training import SGD, Augmentation, train, zero_velocity

_GRAPH_MEMORY_CPU, _GRAPH_MEMORY_GPU = 256, 8192  # MiB
_PERTURBATION = 0.1  # deviation, in normalised units, of the noise that shows which entries are sensitive
_AVERAGING = 3  # step t weighs about t to this power: half of the weight lies on the last 16 % of the steps
_REAL_IMAGES_AT_ONCE = 256  # as many as the published batch of one class


class GradientMatching:
    """Algorithm 1: on each freshly drawn network, T times: move the images, then train the network on them."""

    def __init__(self, config: GradientMatchingConfig, train: ImageSet, seed: int) -> None:
        self._config = config.resolved(train.provenance.get("source", {}).get("name"))
        self._train = train
        self._sampler = Sampler(train, seed, config.precision)
        self._network = build_network(config.network, train.image_shape, train.num_classes)
        parameters = self._sampler.network(self._network, "network", 0)
        self._compared = compared_parameters(parameters, config.compare)
        self._distance = distance_named(config.distance)
        self._transforms = tuple(transform_named(name) for name in config.transform)
        check_applicable(
            self._transforms, [parameters[name] for name in self._compared], config.network, config.real_batch
        )
        self._backend = choose_backend(
            self._network, train.images.device, precision=config.precision, engine=config.engine
        )
        self._fast = first_order_model(self._network, self._backend)
        self._stacked = stack_network(self._network)
        self._labels = torch.arange(train.num_classes, device=train.images.device)
        check_class_sizes(train, config)

    @property
    def backend(self) -> Backend:
        """How derivatives of first order are computed."""
        return self._backend

    @property
    def _classes_at_once(self) -> int:
        """Classes whose synthetic side fits into one graph."""
        if self._stacked is None:
            return 1
        on_processor = self._train.images.device.type == "cpu"
        limit = self._config.graph_memory or (_GRAPH_MEMORY_CPU if on_processor else _GRAPH_MEMORY_GPU)
        return max(1, limit * 2**20 // bytes_of_graph(self._network, self._config.ipc))

    def init(self) -> State:
        """Give the images with which the run begins.

        Returns:
            The state before the first step; its network is drawn by that step.
        """
        images = self._sampler.start(self._config)
        return replace(State.begun(images), average=images if self._config.iterate_averaging else None)

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once, and train the network unless the draw ends here.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the matching loss: the sum over classes of their distance, before the update.
        """
        parameters, parameter_velocity = state.parameters, state.parameter_velocity
        if step.inner == 0:
            parameters = self._sampler.network(self._network, "network", step.outer)
            parameter_velocity = zero_velocity(parameters)
        buffers = self._sampler.frozen_buffers(self._network, parameters, *step)
        distances, gradient = self._matching_gradient(state.images, parameters, buffers, "real", *step)
        moments = None
        if self._config.shrink_pixels:
            gradient, moments = shrink_pixels(gradient, state.moments, self._steps_with(step))
        assert self._config.image_lr is not None
        new = state.descended(gradient, lr=self._config.image_lr, momentum=self._config.image_momentum)
        if step.inner + 1 < self._config.steps_per_iteration:
            assert self._config.network_epochs is not None
            parameters, parameter_velocity = train(
                partial(self._fast, buffers=buffers),
                parameters,
                parameter_velocity,
                new.images.flatten(0, 1),
                self._labels.repeat_interleave(self._config.ipc),
                sgd=SGD(
                    lr=self._config.network_lr,
                    momentum=self._config.network_momentum,
                    batch_size=self._config.network_batch,
                ),
                epochs=self._config.network_epochs,
                generator=self._sampler.generator("order", *step),
                augmentation=self._augmentation(*step),
            )
        new = replace(
            new,
            parameters=parameters,
            parameter_velocity=parameter_velocity,
            average=None if state.average is None else self._averaged(state.average, new.images, step),
            moments=moments,
        )
        return new, float(distances.sum())

    def probe(self, images: Tensor, *, network: int, batch: int) -> Tensor:
        """Ask what a fresh network and a fresh real batch want of the pixels; no run ever draws these two.

        Args:
            images: Synthetic images `[K, S, C, H, W]`, normalised.
            network: Number of the network, from 0; equal numbers give equal networks.
            batch: Number of the real batch, from 0, likewise.

        Returns:
            The gradient of the matching objective `[K, S, C, H, W]`.
        """
        parameters = self._sampler.network(self._network, "probe network", network)
        buffers = self._sampler.frozen_buffers(self._network, parameters, network, purpose="probe statistics")
        return self._matching_gradient(images, parameters, buffers, "probe", batch)[1]

    def _matching_gradient(
        self, images: Tensor, parameters: Parameters, buffers: Parameters, purpose: str, *index: int
    ) -> tuple[Tensor, Tensor]:
        """Compare with real batches that are drawn for a purpose and an index."""
        size = self._config.real_batch
        objective = Objective(
            model=partial(self._network, buffers=buffers),
            real_model=partial(self._fast, buffers=buffers),
            compared=self._compared,
            distance=self._distance,
            transforms=self._transforms,
            perturbed=lambda real, label: self._perturbed(real, f"{purpose} noise", *index, label),
            stacked_model=self._stacked,
            classes_at_once=self._classes_at_once,
            real_classes_at_once=max(1, _REAL_IMAGES_AT_ONCE // size),
        )
        match = class_collective_gradient if self._config.class_collective else matching_gradient

        def real(label: int) -> Tensor:
            return self._sampler.real(label, size, purpose, *index)

        if self._config.siamese == "none":
            return match(objective, parameters, real, images)
        view = self._sampler.view(self._config.siamese, f"{purpose} view", *index)
        leaf = images.detach().requires_grad_()
        seen = seen_by_class(view, leaf)
        distances, gradient = match(
            objective, parameters, lambda label: view(label, real(label)), seen.detach()
        )
        return distances, torch.autograd.grad(seen, leaf, gradient)[0]

    def _augmentation(self, *index: int) -> Augmentation | None:
        """Change the synthetic images on which the network trains, each image in its own way."""
        if self._config.siamese == "none":
            return None
        generator = self._sampler.generator("augmentation", *index)
        return lambda images: augmented(self._config.siamese, images, generator)

    def _steps_with(self, step: Step) -> int:
        """Count the steps of the run up to this one."""
        return step.outer * self._config.steps_per_iteration + step.inner + 1

    def _averaged(self, average: Tensor, images: Tensor, step: Step) -> Tensor:
        """Take the images of a step into the average (Shamir and Zhang 2013, polynomial-decay averaging)."""
        weight = (_AVERAGING + 1) / (_AVERAGING + self._steps_with(step))
        return average + weight * (images - average)

    def _perturbed(self, images: Tensor, purpose: str, *index: int) -> Tensor:
        """Put small noise on real images."""
        return images + _PERTURBATION * self._sampler.noise(tuple(images.shape), purpose, *index)
