"""What a user may say about the measurement of gradient noise, checked before torch is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.matching.names import parse_transform

PLAIN = "none"  # the variant without any change
JOINED = "class-collective"  # a part of a variant that is no transform


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Which gradients are measured, on how many networks and batches.

    Attributes:
        networks: Architectures.
        variants: Gradient transforms, each measured with each architecture: "none", or names joined by "+" as in
            max-pool-1+keep-magnitude:0.1; "class-collective" is what --class-collective does.
        num_networks: Random networks of each architecture, R; 8 or more for intervals that say something.
        num_batches: Real batches, D, of `real_batch` images per class; each network sees each of them.
        iterations: Where above 0, the gradients are measured at images that plain matching with the same architecture has
            learned in so many outer draws, instead of at the images that it starts from.
        seed: Seed of everything that is drawn, from 0.
        method: Settings that all gradients share.
    """

    networks: tuple[str, ...] = ("convnet",)
    variants: tuple[str, ...] = (PLAIN,)
    num_networks: int = 16
    num_batches: int = 8
    iterations: int = 0
    seed: int = 0
    method: GradientMatchingConfig = field(default_factory=GradientMatchingConfig)

    def __post_init__(self) -> None:
        for name, least in (("num_networks", 2), ("num_batches", 2), ("iterations", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, but must be {least} or more.")
        _check_labels("networks", self.networks)
        _check_labels("variants", self.variants)
        for variant in self.variants:
            variant_settings(variant)
        if self.method.class_collective:
            raise InputError(
                f"class_collective is given, but variants are measured side by side: give --variants {JOINED}."
            )
        if self.method.transform:
            raise InputError(
                f"transform is {', '.join(self.method.transform)}, but transforms are measured side by side: give "
                f"--variants {'+'.join(self.method.transform)}."
            )
        if self.method.network != GradientMatchingConfig.network:
            raise InputError(
                f"network is {self.method.network!r}, but networks are measured side by side: give --networks "
                f"{self.method.network}."
            )


def variant_settings(variant: str) -> dict[str, Any]:
    """Read a variant.

    Args:
        variant: "none", or names of transforms and "class-collective" joined by "+".

    Returns:
        Fields of `GradientMatchingConfig`: the transforms in order, and whether classes are joined.

    Raises:
        InputError: There is no such transform, or its number is missing or breaks its rule.
    """
    names = () if variant == PLAIN else tuple(variant.split("+"))
    transforms = tuple(name for name in names if name != JOINED)
    for name in transforms:
        parse_transform(name)
    return {"transform": transforms, "class_collective": JOINED in names}


def _check_labels(name: str, labels: Sequence[str]) -> None:
    """Check that there is something to measure, and each of it once."""
    if not labels:
        raise InputError(f"{name} is empty: give one or more.")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError(f"{name} has {twice[0]!r} twice: give each once.")
