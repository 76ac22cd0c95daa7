"""Made measurements of gradient noise."""

from math import nan
from typing import TypeAlias

import pandas as pd

from datacondense.studies.noise import COLUMNS, PARTS, NoiseResult, Variant

Gradients: TypeAlias = dict[
    str, list[list[float]] | None
]  # by class: the numbers of its parts; None for zeros

ENVIRONMENT = {"engine": "fused", "threads": 1}


def parts(*shares: float, half: float = 0.05) -> list[list[float]]:
    """Return four parts of a squared length of 2, with intervals of share ± half."""
    return [[2 * share, share, share - half, share + half] for share in shares]


def made(
    entries: dict[Variant, Gradients], networks: tuple[str, ...], variants: tuple[str, ...] = ("none",)
) -> NoiseResult:
    """Return a measurement."""
    lines = [
        [*variant, name, part, *numbers]
        for variant, gradients in entries.items()
        for name, found in gradients.items()
        for part, numbers in zip(PARTS, found or [[nan] * 4] * 4, strict=True)
    ]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    return NoiseResult(networks=networks, variants=variants, frame=frame, environments=[ENVIRONMENT])


ONE: Gradients = {"": parts(0.1, 0.6, -0.0004, 0.3), "cat": parts(0.2, 0.5, 0.1, 0.2), "do*g": None}
TWO: Gradients = {"": parts(0.5, 0.25, 0.125, 0.125, half=0.7), "cat": parts(0.5, 0.25, 0.125, 0.125)}
RESULT = made(
    {("convnet", "none"): ONE, ("mlp", "max-pool-1"): TWO}, ("convnet", "mlp"), ("none", "max-pool-1")
)
