"""What a user may say about distribution matching, checked before torch is loaded."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from datacondense.augment.names import resolved_strategy
from datacondense.condensation.config import MethodConfig, Start, check_momenta, check_siamese
from datacondense.data.catalogue import may_be_mirrored

if TYPE_CHECKING:
    from datacondense.condensation.distribution_matching import DistributionMatching
    from datacondense.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class DistributionMatchingConfig(MethodConfig):
    """Settings of distribution matching (Zhao and Bilen, WACV 2023); the defaults are the published ones.

    Attributes:
        start: What the images begin as: "real" images, as published, or "noise".
        siamese: Random change of the images, the same for the real and the synthetic images of a class: "none"; "dsa",
            all operations of Zhao and Bilen (ICML 2021), without mirroring where that changes digits; or
            "dsa:OPERATIONS" out of color, crop, cutout, flip, scale and rotate joined by hyphens.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
    """

    start: Start = "real"
    siamese: str = "dsa"
    image_momentum: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_siamese(self, "siamese")
        check_momenta(self, "image_momentum")

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "distribution-matching"

    @property
    def published_iterations(self) -> int:
        """Outer draws of the published runs."""
        return 20000

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        siamese = "" if self.siamese == "none" else f", {self.siamese}"
        return f"{self.network} by distribution matching{siamese}, ipc {self.ipc}, B = {self.real_batch}"

    def resolved(self, dataset: str | None = None) -> Self:
        """Fill in the defaults that depend on the data set.

        Args:
            dataset: The data set's name, as in `load`; None where it has none.

        Returns:
            The settings without None.
        """
        return replace(
            self,
            image_lr=self.image_lr or 1.0,
            siamese=resolved_strategy(self.siamese, mirrored=may_be_mirrored(dataset)),
        )

    def build(self, train: "ImageSet", seed: int) -> "DistributionMatching":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images or has no linear layer, `start` asks for more real images
                than a class has, or the engine cannot compute this.
        """
        from datacondense.condensation.distribution_matching import DistributionMatching  # noqa: PLC0415

        return DistributionMatching(self, train, seed)
