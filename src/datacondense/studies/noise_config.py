"""Settings of a gradient noise measurement."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.matching.transforms import parse_transform
from datacondense.user_code import name_of

PLAIN = "none"  # the variant without any change
COLLECTIVE = "class-collective"  # the part of a variant that is not a transform


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Which gradients to measure, on how many networks and batches.

    Attributes:
        networks: Architectures.
        variants: Gradient transforms, each measured with each architecture: "none", or names joined by "+" as in
            max-pool-1+keep-magnitude:0.1; "class-collective" means --class-collective.
        num_networks: Random networks of each architecture, R; use 8 or more for useful intervals.
        num_batches: Real batches, D, of `real_batch` images per class; each network sees each of them.
        iterations: If above 0, measure at the images that plain matching with the same architecture has learned after
            this many iterations, not at its initial images.
        seed: Seed of all random numbers, from 0.
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
                f"class_collective is set, but variants are measured side by side: give --variants {COLLECTIVE}."
            )
        if self.method.transform:
            names = [name_of(transform) for transform in self.method.transform]
            raise InputError(
                f"transform is {', '.join(names)}, but transforms are measured side by side: give --variants "
                f"{'+'.join(names)}."
            )
        if self.method.network != GradientMatchingConfig.network:
            raise InputError(
                f"network is {self.method.network!r}, but networks are measured side by side: give --networks "
                f"{self.method.network}."
            )


def variant_settings(variant: str) -> dict[str, Any]:
    """Return the settings of a variant.

    Args:
        variant: "none", or names of transforms and "class-collective" joined by "+".

    Returns:
        Fields of `GradientMatchingConfig`: the transforms in order, and whether matching is class-collective.

    Raises:
        InputError: There is no such transform, or its number is missing or invalid.
    """
    names = () if variant == PLAIN else tuple(variant.split("+"))
    transforms = tuple(name for name in names if name != COLLECTIVE)
    for name in transforms:
        parse_transform(name)
    return {"transform": transforms, "class_collective": COLLECTIVE in names}


def _check_labels(name: str, labels: Sequence[str]) -> None:
    """Check that labels are given, each once."""
    if not labels:
        raise InputError(f"{name} is empty: give at least one.")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError(f"{name} has {twice[0]!r} twice: give each once.")
