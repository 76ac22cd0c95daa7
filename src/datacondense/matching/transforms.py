"""Gradient transforms: what is done to the gradients of real and of synthetic images before they are compared.

Three families. *Representative pooling* (`pooling.py`) replaces the spatial gradient of each convolution kernel by one
value or four. *Masks* keep a fraction of the entries, selected on the real images' gradient and applied to both sides.
*Filters* weight the entries of the real images' gradient by how far they rise above its sampling noise, as sub-batches
show it. Transforms compose in order and are differentiable through the synthetic side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from math import ceil, inf, nan
from typing import NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching.distances import Gradients
from datacondense.matching.pooling import is_kernel, pool_kernels
from datacondense.user_code import check_user_name, imported, name_of, user_callable

Change: TypeAlias = Callable[[Gradients], Gradients]

GLOBAL = "-global"  # ends the name of a mask that ranks the entries of all layers together
MASKS = ("keep-magnitude", "keep-stable", "keep-sensitive")
SUB_BATCHES = 4  # of "wiener" without a number, and of "keep-snr"
_POOLINGS = tuple(f"{pooling}-pool-{size}" for pooling in ("max", "mean", "abs-max") for size in (1, 2))

# What follows the colon in the names of the other kinds: what to call it, and its rule.
_FRACTION = ("FRACTION", "which fraction of the entries it keeps, above 0 and at most 1", "0.1")
_NUMBERS = {
    **{f"{mask}{end}": _FRACTION for mask in MASKS for end in ("", GLOBAL)},
    "keep-snr": ("RATIO", "a ratio above 0", "1"),
    "wiener": ("SUBBATCHES", "a whole number of sub-batches from 2 on", str(SUB_BATCHES)),
}


class TransformName(NamedTuple):
    """The name of a gradient transform, read.

    Attributes:
        kind: What it does, without its number: "max-pool-1", "keep-magnitude", "wiener", …; the name of a user's own.
        value: Its number: the fraction that a mask keeps, the sub-batches of "wiener", the ratio of "keep-snr"; 0 for
            poolings and a user's own, which have none.
    """

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:.12g}" if self.value else self.kind


class RealGradients(NamedTuple):
    """What is known of the gradients for real images; every transform maps all of it, so that transforms compose.

    Attributes:
        mean: The gradient of the mean loss of the batch, each tensor of its parameter's shape.
        parts: The same for each of the sub-batches, where a transform needs them.
        perturbed: The same for the first sub-batch with noise on its images, where a transform needs it.
    """

    mean: Gradients
    parts: tuple[Gradients, ...] = ()
    perturbed: Gradients | None = None

    def map(self, change: Change) -> Self:
        """Change every gradient in the same way."""
        perturbed = None if self.perturbed is None else change(self.perturbed)
        parts = tuple(change(part) for part in self.parts)
        return self._replace(mean=change(self.mean), parts=parts, perturbed=perturbed)


class Pair(NamedTuple):
    """The gradients to be compared.

    Attributes:
        real: For real images, without a graph.
        synthetic: For synthetic images, differentiable.
    """

    real: RealGradients
    synthetic: Gradients


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A gradient transform, and what it must know of the real images.

    Attributes:
        name: As in settings; "package.module:name" for a user's own, so that its records can be read.
        apply: A function from a pair to a pair.
        parts: Sub-batches of the real batch whose gradients it needs.
        wants_noise: Whether it needs the gradient of noisy images.
        wants_kernels: Whether it changes kernels of convolutions only.
        vectorised: Whether `torch.vmap` may apply it to all classes at once.
    """

    name: str
    apply: Callable[[Pair], Pair]
    parts: int = 0
    wants_noise: bool = False
    wants_kernels: bool = False
    vectorised: bool = False


_Rank: TypeAlias = Callable[[RealGradients], Gradients]  # scores entries; the highest ones are kept


def parse_transform(transform: str | Transform | Change) -> TransformName:
    """Read a gradient transform as settings give it, so that `str` writes equal ones alike; import nothing."""
    if not isinstance(transform, str):
        return TransformName(transform.name if isinstance(transform, Transform) else name_of(transform))
    kind, colon, number = transform.partition(":")
    if kind in _POOLINGS and not colon:
        return TransformName(kind)
    if kind not in _NUMBERS:
        # The names of built-in kinds have hyphens, those of modules have none.
        if colon and kind.replace(".", "").isidentifier():
            check_user_name(transform, "transform")
            return TransformName(transform)
        known = ", ".join([*_POOLINGS, *(f"{kind}:{number}" for kind, (number, *_) in _NUMBERS.items())])
        raise InputError(
            f"There is no gradient transform {transform!r}: choose from {known}, or give your own as "
            "package.module:name."
        )
    _, rule, example = _NUMBERS[kind]
    try:
        value = float(number or (example if kind == "wiener" and not colon else "nan"))
    except ValueError:
        value = nan
    most = 1 if kind.startswith(MASKS) else inf
    if not (2 <= value < inf and value % 1 == 0 if kind == "wiener" else 0 < value <= most and value < inf):
        raise InputError(f"{transform!r} must say {rule}, as in {kind}:{example}.")
    return TransformName(kind, value)


def transform_named(transform: str | Transform | Change) -> Transform:
    """Return a transform, however it is given.

    - `max-pool-1`, `mean-pool-1`, `abs-max-pool-1`: for each kernel of a convolution its maximum, its mean, or its
      entry of largest magnitude with its sign; `…-pool-2`: for each of 2×2 adaptive windows. Real and synthetic
      gradients are pooled apart, as the representatives are defined. Linear layers and vectors pass unchanged.
    - `keep-magnitude:F`: in each tensor the ⌈F·n⌉ of its n entries that are largest in magnitude.
    - `keep-stable:F`, `keep-sensitive:F`: those that change least, or most, when the real images get small noise.
    - `…-global:F`: the same, ranked over all tensors together.
    - `keep-snr:RATIO`: entries whose squared mean is at least RATIO times its variance, estimated from 4 sub-batches.
    - `wiener:P`: each entry m of the real gradient times m² / (m² + v), v being the variance of m, from P sub-batches.
    - `package.module:name`: the user's own, a `Transform` or a function from a list of gradients to a list of
      gradients, which is applied to both sides; either may be given as the object itself.
    """
    parsed = parse_transform(transform)
    text, (kind, value) = str(parsed), parsed
    if kind not in _NUMBERS and kind not in _POOLINGS:
        return _users_own(transform, text)
    if "-pool-" in kind:
        pooling, size = kind.split("-pool-")
        change = partial(pool_kernels, pooling=pooling, size=int(size))
        return Transform(name=text, apply=partial(_on_both, change), wants_kernels=True, vectorised=True)
    if kind == "wiener":
        return Transform(name=text, apply=_wiener, parts=int(value), vectorised=True)
    if kind == "keep-snr":
        return Transform(name=text, apply=partial(_keep_snr, ratio=value), parts=SUB_BATCHES, vectorised=True)
    is_global = kind.endswith(GLOBAL)
    rank = _RANKS[kind.removesuffix(GLOBAL)]
    # As written: 0.07 of 100 entries are 7, while 0.07 * 100 is a little more.
    fraction = Fraction(f"{value:.12g}")
    keep = partial(_keep_fraction, rank=rank, fraction=fraction, together=is_global)
    # Noise divides the batch, which changes how its gradient is rounded: not where everything is kept.
    noise = rank is not _magnitude and fraction < 1
    return Transform(name=text, apply=keep, wants_noise=noise, vectorised=True)


def transformed(transforms: Sequence[Transform], real: RealGradients, synthetic: Gradients) -> Pair:
    """Apply transforms in order; what is compared is `real.mean` with `synthetic`."""
    return reduce(lambda pair, transform: transform.apply(pair), transforms, Pair(real, synthetic))


def check_applicable(
    transforms: Sequence[Transform], compared: Gradients, network: str, real_batch: int
) -> None:
    """Check that pooling finds kernels larger than 1x1, and that the real batch can be divided."""
    for transform in transforms:
        if transform.wants_kernels and not any(
            is_kernel(tensor) and tensor[0, 0].numel() > 1 for tensor in compared
        ):
            raise InputError(
                f"transform is {transform.name!r}, which pools the kernels of convolutions, but none of the compared "
                f"parameters of {network} has any: leave it out, or choose another --network."
            )
        if transform.parts > real_batch:
            raise InputError(
                f"transform is {transform.name!r}, which divides the real images of a class into {transform.parts} "
                f"sub-batches, but the smallest real batch has {real_batch}: give a larger --real-batch, or images."
            )


def largest(scores: Tensor, number: int) -> Tensor:
    """Return a mask of exactly `number` entries, those with the largest scores; among equal ones the first."""
    flat = scores.flatten()
    # Not `kthvalue`, which has no deterministic form on a GPU.
    threshold = flat.topk(number, sorted=False).values.amin()
    above, equal = flat > threshold, flat == threshold
    wanted = number - above.sum()
    return (above | (equal & (equal.cumsum(0) <= wanted))).view_as(scores)


def _users_own(transform: str | Transform | Change, name: str) -> Transform:
    """Return the user's own transform."""
    found = imported(transform, "transform") if isinstance(transform, str) else transform
    if isinstance(found, Transform):
        return found
    change = user_callable(transform, "transform", "a list of gradients")
    return Transform(name=name, apply=partial(_on_both, change))


def _on_both(change: Change, pair: Pair) -> Pair:
    """Change both sides in the same way."""
    return Pair(pair.real.map(change), change(pair.synthetic))


def _masked(pair: Pair, masks: Sequence[Tensor]) -> Pair:
    """Set what is not kept to zero, on both sides."""
    return _on_both(lambda gradients: [g * kept for g, kept in zip(gradients, masks, strict=True)], pair)


def _keep_fraction(pair: Pair, *, rank: _Rank, fraction: Fraction, together: bool) -> Pair:
    """Keep the entries that rank highest."""
    if fraction == 1:
        return pair
    scores = rank(pair.real)
    if not together:
        return _masked(pair, [largest(score, ceil(fraction * score.numel())) for score in scores])
    joined = torch.cat([score.flatten() for score in scores])
    kept = largest(joined, ceil(fraction * len(joined))).split([score.numel() for score in scores])
    return _masked(pair, [mask.view_as(score) for mask, score in zip(kept, scores, strict=True)])


def _magnitude(real: RealGradients) -> Gradients:
    """Score by magnitude."""
    return [g.abs() for g in real.mean]


def _sensitivity(real: RealGradients) -> Gradients:
    """Score by how much noise on the images changes an entry."""
    assert real.perturbed is not None
    return [(noisy - clean).abs() for noisy, clean in zip(real.perturbed, real.parts[0], strict=True)]


def _stability(real: RealGradients) -> Gradients:
    """Score by how little noise on the images changes an entry."""
    return [-change for change in _sensitivity(real)]


def _signal_to_noise(real: RealGradients) -> Gradients:
    """Divide the square of each entry by the variance of the mean over sub-batches; what never varies is all signal."""
    ratios = []
    for mean, *parts in zip(real.mean, *real.parts, strict=True):
        variance = torch.stack(parts).var(0) / len(parts)
        ratio = mean.square() / variance
        ratios.append(torch.where(variance > 0, ratio, torch.where(mean == 0, 0.0, inf)))
    return ratios


def _keep_snr(pair: Pair, *, ratio: float) -> Pair:
    """Keep the entries that rise above the noise."""
    return _masked(pair, [found >= ratio for found in _signal_to_noise(pair.real)])


def _wiener(pair: Pair) -> Pair:
    """Shrink the real side by s / (1 + s), s being the ratio: closer to the gradient of all images of the class."""
    # 1 / (1 + 1 / s) is the same, and right for an infinite ratio.
    weights = [1 / (1 + 1 / found) for found in _signal_to_noise(pair.real)]
    shrunk = pair.real.map(lambda gradients: [g * w for g, w in zip(gradients, weights, strict=True)])
    return Pair(shrunk, pair.synthetic)


_RANKS: dict[str, _Rank] = {
    "keep-magnitude": _magnitude,
    "keep-stable": _stability,
    "keep-sensitive": _sensitivity,
}
