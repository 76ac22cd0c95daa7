"""Gradients of all kinds, and transforms of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from datacondense.matching.transforms import MASKS, Pair, RealGradients, transform_named, transformed

POOLINGS = [f"{pooling}-pool-{size}" for pooling in ("max", "mean", "abs-max") for size in (1, 2)]
SINGLE = [
    *POOLINGS,
    *(f"{mask}{end}:0.3" for mask in MASKS for end in ("", "-global")),
    "keep-snr:0.77",
    "wiener:4",
]
CHAINS: list[tuple[str, ...]] = [
    *((name,) for name in SINGLE),
    ("max-pool-1", "keep-magnitude:0.1"),
    ("keep-magnitude:0.1", "max-pool-1"),
    ("wiener:3", "abs-max-pool-2", "keep-stable-global:0.2"),
    ("keep-sensitive:0.5", "keep-snr:0.77", "mean-pool-1", "wiener:2"),
]
SHAPES = [(3, 2, 3, 3), (2, 3, 5, 5), (4, 2, 1, 1), (2, 2, 3, 5), (2, 1, 1, 3), (3, 7), (5,)]
VALUES = ["normal", "negative", "ties", "equal", "zero"]


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gradients(kind: str, seed: int, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    """Build gradients of a kind, one for each shape."""
    generator = torch.Generator().manual_seed(seed)
    normal = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    change: dict[str, Callable[[Tensor], Tensor]] = {
        "normal": lambda g: g,
        "negative": lambda g: -g.abs(),
        "ties": lambda g: g.round().clamp(-1, 1),
        "equal": lambda g: torch.full_like(g, -0.3),
        "zero": torch.zeros_like,
    }
    return [change[kind](g) for g in normal]


def real_side(kind: str, shapes: Sequence[tuple[int, ...]] = SHAPES) -> RealGradients:
    """Build what is known of the real images: four sub-batches, their mean, and noise."""
    parts = tuple(gradients(kind, seed, shapes) for seed in range(4))
    mean = [torch.stack(tensors).mean(0) for tensors in zip(*parts, strict=True)]
    return RealGradients(mean, parts, gradients(kind, 8, shapes))


def apply(names: Sequence[str], real: RealGradients, synthetic: Sequence[Tensor]) -> Pair:
    return transformed([transform_named(name) for name in names], real, synthetic)
