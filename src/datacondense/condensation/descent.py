"""Methods that move the images against a gradient: of a loss, or one of their own."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.settings import added, check_momenta

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FirstOrderConfig(MethodConfig):
    """Settings of methods that move the images against the gradient of a loss, by SGD with momentum.

    Attributes:
        image_lr: Learning rate of the images, in normalised pixel units.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
        iterate_averaging: Return the average of the images over all steps, step t weighing about t³, instead of the
            last images.
    """

    image_lr: float = 0.1
    image_momentum: float = 0.5
    iterate_averaging: bool = added(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_momenta(self, "image_momentum")


FirstOrderT = TypeVar("FirstOrderT", bound=FirstOrderConfig)


class DescentMethod(Method[FirstOrderT]):
    """A method that moves the images, and what it learns beside them, against a gradient."""

    @abstractmethod
    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Compute the loss of normalised decoded images `[K, S·f², C, H, W]`, and its gradient in them."""

    def gradients(
        self, images: Tensor, learned: Mapping[str, Tensor], step: Step
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compute the loss of the images, its gradient in them, and those in what is learned beside them, by name."""
        return *self.gradient(images, step), {}

    @property
    def learned_lrs(self) -> dict[str, float]:
        """Learning rates of what is learned beside the images, by name."""
        return {}

    def init(self) -> State:
        """Return the images with which the run begins."""
        state = super().init()
        return state.averaged() if self.settings.iterate_averaging else state

    def step(self, state: State, step: Step) -> tuple[State, float]:
        """Move the images once.

        Args:
            state: As the step before left it.
            step: Which step this is.

        Returns:
            The new state, and the loss before the update.
        """

        def compute(seen: Tensor) -> tuple[Any, Tensor]:
            loss, gradient, beside = self.gradients(seen, state.learned, step)
            return (loss, beside), gradient

        (loss, beside), gradient = carried_back(state.images, self.decoded, compute)
        new = self.descended(state, gradient, step)
        new = new.learned_descended(beside, lrs=self.learned_lrs, momentum=self.settings.image_momentum)
        self.draw_ahead(step)
        return new, float(loss)

    def descended(self, state: State, gradient: Tensor, step: Step) -> State:
        """Return the state with its images moved against a gradient `[K, S, C, H, W]`."""
        settings = self.settings
        number = step.number(settings.steps_per_iteration)
        return state.descended(
            gradient, lr=settings.image_lr, momentum=settings.image_momentum, number=number
        )


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


def carried_back(
    images: Tensor, change: Callable[[Tensor], Tensor], compute: Callable[[Tensor], tuple[T, Tensor]]
) -> tuple[T, Tensor]:
    """Return a value of changed images, and a gradient in them carried back through the change.

    Args:
        images: Images `[K, S, C, H, W]`.
        change: What is done to them first, differentiable; it may return them as they are.
        compute: From changed images, without a graph, to a value and a gradient in them.

    Returns:
        The value, and the gradient `[K, S, C, H, W]`.
    """
    leaf = images.detach().requires_grad_()
    seen = change(leaf)
    value, gradient = compute(seen.detach())
    return value, gradient if seen is leaf else torch.autograd.grad(seen, leaf, gradient)[0]


def differentiated(loss: Callable[..., Tensor], images: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Return a loss of images and other arguments, and its gradient in the images, without a graph."""
    leaf = images.detach().requires_grad_()
    value = loss(leaf, *arguments)
    return value.detach(), torch.autograd.grad(value, leaf)[0]
