"""Gradient matching as two later papers run it: the same method with other defaults."""

from dataclasses import dataclass, replace
from typing import ClassVar

from datacondense.condensation.gradient_matching import GradientMatchingConfig, Resolved
from datacondense.condensation.method import Start

# The published rate is 5e-3 for ten images per class, in pixel scale and for an optimiser that takes the classes one
# after the other; about 16 times that in normalised units (1 / 0.25²), and twice as much where classes move together.
_IDC_RATE_PER_IMAGE = 0.016


@dataclass(frozen=True, kw_only=True)
class SiameseMatchingConfig(GradientMatchingConfig):
    """Gradient matching as Zhao and Bilen (ICML 2021) run it: with Siamese augmentation, from real images on.

    Attributes:
        start: What the images begin as: "real" images, as published, or "noise".
        siamese: As in gradient matching; "dsa" by default.
    """

    start: Start = "real"
    siamese: str = "dsa"


@dataclass(frozen=True, kw_only=True)
class IDCConfig(GradientMatchingConfig):
    """Gradient matching as Kim et al. (ICML 2022) run it: several images in one, networks that train on real images.

    Attributes:
        factor: As in gradient matching; 2 by default.
        start: What the images begin as: "real" images, as published, or "noise".
        image_lr: Learning rate of the images, in normalised pixel units. Default: the published one, 0.016 for each
            image of a class.
        real_batch: Real images per class and step.
        siamese: Operations that are applied at once, but for one of crop, scale and rotate.
        distance: How gradients are compared.
        compare: Parameters whose gradients are compared.
        matching_steps: Steps on one network, T.
        train_on_real: Real images on which the network trains between two steps.
        cutmix: Probability of CutMix in a batch of that training.
        network_momentum: Momentum of that training, 0 to 1.
        network_batch: Its images per update.
        image_momentum: Momentum of the images' updates, 0 to 1.
    """

    published_iterations: ClassVar[int] = 2000

    factor: int = 2
    start: Start = "real"
    real_batch: int = 64
    siamese: str = "idc:color-crop-cutout"
    distance: str = "squared"
    compare: str = "convolutions"
    matching_steps: int | None = 100
    train_on_real: int = 2000
    cutmix: float = 0.5
    network_momentum: float = 0.9
    network_batch: int = 64
    image_momentum: float = 0.0

    def resolved(self, *, may_be_mirrored: bool = True) -> Resolved:
        """Return the settings with the published rate filled in.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings.
        """
        rate = self.image_lr or _IDC_RATE_PER_IMAGE * self.ipc
        return replace(super().resolved(may_be_mirrored=may_be_mirrored), image_lr=rate)
