"""Parameter matching (Zhao, Mopuri, Bilen 2021, section 2.2): images that lead a network where real images lead it."""

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from datacondense.condensation.method import DescentMethod, FirstOrderConfig, differentiated
from datacondense.condensation.state import Step
from datacondense.matching.unrolled import InnerStep, unrolled_sgd
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Parameters
from datacondense.settings import check_at_least, check_rates, narrowed
from datacondense.training import SGD, TrainState, train


@dataclass(frozen=True, kw_only=True)
class ParameterMatchingConfig(FirstOrderConfig):
    """Settings of parameter matching (Zhao et al. 2021, section 2.2), for which no published ones exist.

    Attributes:
        real_batch: Real images per class in one step of training on real images. A smaller class gives all of its own.
        real_steps: Steps of training on real images, each on a batch of its own.
        inner_steps: Steps of training on the synthetic images, each on all of them.
        network_lr: Learning rate of training on real images.
        inner_lr: Learning rate of training on the synthetic images. Default: network_lr × real_steps / inner_steps, so
            that both trainings can go as far.
    """

    _name: ClassVar[str] = "parameter-matching"

    real_batch: int = 16
    real_steps: int = 10
    inner_steps: int = 10
    network_lr: float = 0.01
    inner_lr: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "real_steps", "inner_steps")
        check_rates(self, "network_lr", "inner_lr")

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        return (
            f"{self.name} with {network_name(self.network)}, ipc {self.ipc}, {self.real_steps} real and "
            f"{self.inner_steps} inner steps, B = {self.real_batch}"
        )

    def resolved(self, *, may_be_mirrored: bool = True) -> "_Resolved":
        """Return the settings with the inner learning rate filled in.

        Args:
            may_be_mirrored: Not used.

        Returns:
            The resolved settings.
        """
        inner_lr = self.inner_lr or self.network_lr * self.real_steps / self.inner_steps
        return narrowed(_Resolved, self, network=canonical_network(self.network), inner_lr=inner_lr)

    @property
    def method(self) -> "type[ParameterMatching]":
        """Parameter matching."""
        return ParameterMatching


@dataclass(frozen=True, kw_only=True)
class _Resolved(ParameterMatchingConfig):
    inner_lr: float = field()


class ParameterMatching(DescentMethod[_Resolved]):
    """For each fresh network: train it on real images, train it on synthetic ones, bring the ends together.

    The loss is `‖θ_S - θ_T‖² / ‖θ_T - θ_0‖²`, over all parameters together: θ_0 are those of a fresh network, θ_T those
    after training on real images, θ_S those after training on the synthetic ones.
    """

    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Differentiate the loss through the training on synthetic images."""
        start = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, start, *step)
        target = self._trained_on_real(start, buffers, step)
        return self.graphs.replay(
            "synthetic", partial(differentiated, self._loss), images, start, buffers, target
        )

    def draw_ahead(self, step: Step) -> None:
        """Draw nothing: real batches are those of its training steps."""

    def _loss(self, images: Tensor, start: Parameters, buffers: Parameters, target: Parameters) -> Tensor:
        """Compare the end of training on synthetic images with a target."""
        labels = self.labels.repeat_interleave(self.settings.ipc)
        inner = InnerStep(images.flatten(0, 1), labels, self.settings.inner_lr)
        model = partial(self.network, buffers=buffers)
        found = unrolled_sgd(model, start, [inner] * self.settings.inner_steps)
        return _squared_distance(found, target) / _squared_distance(target, start)

    def _trained_on_real(self, parameters: Parameters, buffers: Parameters, step: Step) -> Parameters:
        """Train on real images, each step on one batch of all classes."""
        size = self.settings.real_batch
        sgd = SGD(lr=self.settings.network_lr, batch_size=size * len(self.labels))
        for number in range(self.settings.real_steps):
            batches = [self.sampler.real(k, size, "real", *step, number) for k in range(len(self.labels))]
            parameters = train(
                self.model,
                TrainState.begun(parameters),
                torch.cat(batches),
                torch.cat([k.expand(len(batch)) for k, batch in zip(self.labels, batches, strict=True)]),
                epochs=1,
                sgd=lambda _: sgd,
                buffers=buffers,
                graphs=self.graphs,
            ).parameters
        return parameters


def _squared_distance(first: Parameters, second: Parameters) -> Tensor:
    """Compute the sum of squared differences of all parameters."""
    return torch.stack([(first[name] - second[name]).square().sum() for name in first]).sum()
