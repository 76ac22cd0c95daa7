"""What a user may say about dataset distillation, checked before torch is loaded."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from datacondense.condensation.config import MethodConfig, check_at_least, check_rates
from datacondense.errors import InputError
from datacondense.networks.names import AlexCifarNetSpec, parse_name

if TYPE_CHECKING:
    from datacondense.condensation.dataset_distillation import DatasetDistillation
    from datacondense.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class DatasetDistillationConfig(MethodConfig):
    """Settings of dataset distillation (Wang et al. 2018); the defaults are the published ones.

    Attributes:
        real_batch: Real images per class on which the trained network is judged. A class with fewer is drawn with
            replacement.
        images_per_step: Images of each class in one step of the network's training; ipc must be a multiple of it.
        inner_epochs: Passes over the synthetic images, in their order, that train the network.
        step_lr: What the learning rate of each training step begins as; every step learns its own. Default: 0.02, and
            0.001 for alexcifarnet.
        fixed_network: Learn for one network, always the same as drawn from the seed, instead of a fresh one for every
            update.
        halve_every: Updates after which the learning rate of images and learning rates is halved, again and again.
        precision: "float64", slow, for checks; everything is float32 with "auto", "float32" and "bfloat16" alike, since
            nothing here is differentiated only once.
        engine: "auto" or "eager", which are the same here for the same reason.
    """

    real_batch: int = 100
    images_per_step: int = 1
    inner_epochs: int = 3
    step_lr: float | None = None
    fixed_network: bool = False
    halve_every: int = 2360

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "images_per_step", "inner_epochs", "halve_every")
        check_rates(self, "step_lr")
        if self.ipc % self.images_per_step:
            raise InputError(
                f"ipc is {self.ipc}, but must be a multiple of images_per_step, which is {self.images_per_step}: give "
                f"such as --ipc {(self.ipc // self.images_per_step + 1) * self.images_per_step}."
            )
        if self.engine == "fused":
            raise InputError(
                "engine is 'fused', but dataset distillation differentiates all training twice, which only torch's own "
                "layers can: give 'auto'."
            )

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "dataset-distillation"

    @property
    def published_iterations(self) -> int:
        """Outer draws of the published runs on MNIST, 400 epochs of 59 updates."""
        return 23600

    @property
    def inner_steps(self) -> int:
        """Steps of the network's training before it is judged."""
        return self.inner_epochs * (self.ipc // self.images_per_step)

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        fixed = ", always the same" if self.fixed_network else ""
        return (
            f"{self.name} with {self.network}{fixed}, ipc {self.ipc}, {self.inner_steps} inner steps, "
            f"B = {self.real_batch}"
        )

    def resolved(self, dataset: str | None = None) -> Self:
        """Fill in the defaults that depend on other settings.

        Args:
            dataset: The data set's name; no default depends on it.

        Returns:
            The settings without None.

        Raises:
            InputError: There is no such network.
        """
        slow = isinstance(parse_name(self.network), AlexCifarNetSpec)
        return replace(
            self, image_lr=self.image_lr or 0.01, step_lr=self.step_lr or (0.001 if slow else 0.02)
        )

    def build(self, train: "ImageSet", seed: int) -> "DatasetDistillation":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images, or `start` asks for more real images than a class has.
        """
        from datacondense.condensation.dataset_distillation import DatasetDistillation  # noqa: PLC0415

        return DatasetDistillation(self, train, seed)
