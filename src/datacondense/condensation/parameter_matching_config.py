"""What a user may say about parameter matching, checked before torch is loaded."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from datacondense.condensation.config import MethodConfig, check_at_least, check_momenta, check_rates

if TYPE_CHECKING:
    from datacondense.condensation.parameter_matching import ParameterMatching
    from datacondense.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class ParameterMatchingConfig(MethodConfig):
    """Settings of parameter matching (Zhao et al. 2021, section 2.2), for which no published ones exist.

    Attributes:
        real_batch: Real images per class in one step of training on real images. A class with fewer is drawn with
            replacement.
        real_steps: Steps of training on real images, each on a batch of its own.
        inner_steps: Steps of training on the synthetic images, each on all of them.
        network_lr: Learning rate of training on real images.
        inner_lr: Learning rate of training on the synthetic images. Default: network_lr × real_steps / inner_steps, so
            that both trainings can go as far.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
    """

    real_batch: int = 16
    real_steps: int = 10
    inner_steps: int = 10
    network_lr: float = 0.01
    inner_lr: float | None = None
    image_momentum: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "real_steps", "inner_steps")
        check_rates(self, "network_lr", "inner_lr")
        check_momenta(self, "image_momentum")

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "parameter-matching"

    @property
    def published_iterations(self) -> int:
        """Outer draws where none are asked for; none are published, these are those of gradient matching."""
        return 1000

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        return (
            f"{self.name} with {self.network}, ipc {self.ipc}, {self.real_steps} real and {self.inner_steps} inner "
            f"steps, B = {self.real_batch}"
        )

    def resolved(self, dataset: str | None = None) -> Self:
        """Fill in the defaults that depend on other settings.

        Args:
            dataset: The data set's name; no default depends on it.

        Returns:
            The settings without None.
        """
        return replace(
            self,
            image_lr=self.image_lr or 0.1,
            inner_lr=self.inner_lr or self.network_lr * self.real_steps / self.inner_steps,
        )

    def build(self, train: "ImageSet", seed: int) -> "ParameterMatching":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images, `start` asks for more real images than a class has, or
                the engine cannot compute this.
        """
        from datacondense.condensation.parameter_matching import ParameterMatching  # noqa: PLC0415

        return ParameterMatching(self, train, seed)
