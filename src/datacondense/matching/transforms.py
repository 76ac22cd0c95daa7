"""Gradient transforms: what is done to the gradients of real and of synthetic images before they are compared.

Three families. *Representative pooling* lets one value, or four, stand for the spatial gradient of each convolution
kernel. *Masks* keep a fraction of the entries, chosen on the real images' gradient and applied to both. *Filters* weigh
the entries of the real images' gradient by how far they rise above its sampling noise, which sub-batches show.
Transforms are composed in order and are differentiable through the synthetic side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, reduce
from math import ceil, inf
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching.distances import Gradients
from datacondense.matching.names import GLOBAL, SUB_BATCHES, parse_transform


class RealGradients(NamedTuple):
    """What is known of the gradients for real images; every transform maps all of it, so that transforms compose.

    Attributes:
        mean: The gradient of the mean loss of the batch, each tensor of its parameter's shape.
        parts: The same for each of the sub-batches, where a transform asks for them.
        perturbed: The same for the first sub-batch with noise on its images, where a transform asks for it.
    """

    mean: Gradients
    parts: tuple[Gradients, ...] = ()
    perturbed: Gradients | None = None

    def map(self, change: Callable[[Gradients], Gradients]) -> "RealGradients":
        """Change every gradient in the same way.

        Args:
            change: A function from gradients to gradients.

        Returns:
            The changed gradients.
        """
        perturbed = None if self.perturbed is None else change(self.perturbed)
        return RealGradients(change(self.mean), tuple(change(part) for part in self.parts), perturbed)


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
        name: As in settings.
        apply: A function from a pair to a pair.
        parts: Sub-batches of the real batch whose gradients it wants.
        wants_noise: Whether it wants the gradient of noisy images.
        wants_kernels: Whether it does something to kernels of convolutions only.
    """

    name: str
    apply: Callable[[Pair], Pair]
    parts: int = 0
    wants_noise: bool = False
    wants_kernels: bool = False


_Rank: TypeAlias = Callable[[RealGradients], Gradients]  # scores entries; the highest ones are kept


def transform_named(name: str) -> Transform:
    """Make a transform from its name.

    - `max-pool-1`, `mean-pool-1`, `abs-max-pool-1`: for each kernel of a convolution its maximum, its mean, or its
      entry of largest magnitude with its sign; `…-pool-2`: for each of 2×2 adaptive windows. Real and synthetic
      gradients are pooled apart, as the representatives are defined. Linear layers and vectors pass unchanged.
    - `keep-magnitude:F`: in each tensor the ⌈F·n⌉ of its n entries that are largest in magnitude.
    - `keep-stable:F`, `keep-sensitive:F`: those that change least, or most, when the real images get small noise.
    - `…-global:F`: the same, ranked over all tensors together.
    - `keep-snr:RATIO`: entries whose squared mean is at least RATIO times its variance, estimated from 4 sub-batches.
    - `wiener:P`: each entry m of the real gradient times m² / (m² + v), v being the variance of m, from P sub-batches.

    Args:
        name: The name.

    Returns:
        The transform.

    Raises:
        InputError: There is no such transform, or its number breaks its rule.
    """
    parsed = parse_transform(name)
    kind, value = parsed
    text = str(parsed)
    if "-pool-" in kind:
        pooling, size = kind.split("-pool-")
        change = partial(pool_kernels, pooling=pooling, size=int(size))
        return Transform(name=text, apply=partial(_on_both, change), wants_kernels=True)
    if kind == "wiener":
        return Transform(name=text, apply=_wiener, parts=int(value))
    if kind == "keep-snr":
        return Transform(name=text, apply=partial(_keep_snr, ratio=value), parts=SUB_BATCHES)
    is_global = kind.endswith(GLOBAL)
    rank = _RANKS[kind.removesuffix(GLOBAL)]
    # As written: 0.07 of 100 entries are 7, while 0.07 * 100 is a little more.
    fraction = Fraction(f"{value:.12g}")
    keep = partial(_keep_fraction, rank=rank, fraction=fraction, together=is_global)
    # Noise divides the batch, which changes how its gradient is rounded: not where everything is kept.
    return Transform(name=text, apply=keep, wants_noise=rank is not _magnitude and fraction < 1)


def transformed(transforms: Sequence[Transform], real: RealGradients, synthetic: Gradients) -> Pair:
    """Apply transforms in order.

    Args:
        transforms: The transforms; none of them leaves everything as it is.
        real: What is known of the real images' gradients.
        synthetic: The synthetic images' gradients.

    Returns:
        What is compared is `real.mean` with `synthetic`.
    """
    return reduce(lambda pair, transform: transform.apply(pair), transforms, Pair(real, synthetic))


def check_applicable(
    transforms: Sequence[Transform], compared: Gradients, network: str, real_batch: int
) -> None:
    """Check that transforms can do what they say on a network's gradients.

    Args:
        transforms: The transforms.
        compared: Tensors of the shapes of the compared parameters.
        network: Name of the network, for the message.
        real_batch: Real images per class.

    Raises:
        InputError: A transform of kernels finds none larger than 1x1, or a batch is too small to be divided.
    """
    for transform in transforms:
        if transform.wants_kernels and not any(
            _is_kernel(tensor) and tensor[0, 0].numel() > 1 for tensor in compared
        ):
            raise InputError(
                f"transform is {transform.name!r}, which pools the kernels of convolutions, but none of the compared "
                f"parameters of {network} has any: leave it out, or choose another --network."
            )
        if transform.parts > real_batch:
            raise InputError(
                f"transform is {transform.name!r}, which divides the real images of a class into {transform.parts} "
                f"sub-batches, but real_batch is {real_batch}: give a larger --real-batch."
            )


def pool_kernels(gradients: Gradients, *, pooling: str, size: int) -> list[Tensor]:
    """Let one or four values stand for each kernel of a convolution.

    Window i of `size` along an axis of length k reaches from ⌊i·k/size⌋ to ⌈(i+1)·k/size⌉, so 2×2 windows of a 3×3
    kernel overlap in its middle. Where a kernel is smaller than `size`, its entries stand for themselves.

    Args:
        gradients: Gradients, those of convolutions `[O, I, h, w]`; others pass unchanged.
        pooling: "max", "mean" or "abs-max" (the entry of largest magnitude, with its sign).
        size: Windows along each axis.

    Returns:
        The gradients, those of convolutions `[O, I, min(size, h), min(size, w)]`.
    """
    return [_pooled(g, pooling, size) if _is_kernel(g) else g for g in gradients]


def largest(scores: Tensor, number: int) -> Tensor:
    """Mark the entries with the largest scores; among equal ones the first.

    Args:
        scores: Any shape.
        number: How many, from 1 to all.

    Returns:
        True at exactly that many entries, of the same shape.
    """
    flat = scores.flatten()
    threshold = flat.kthvalue(flat.numel() - number + 1).values
    above, equal = flat > threshold, flat == threshold
    wanted = number - above.sum()
    return (above | (equal & (equal.cumsum(0) <= wanted))).view_as(scores)


def _is_kernel(gradient: Tensor) -> bool:
    """Tell whether a tensor belongs to a convolution over the plane."""
    return gradient.dim() == 4


def _pooled(gradient: Tensor, pooling: str, size: int) -> Tensor:
    """Pool `[O, I, h, w]` over adaptive windows."""
    rows, columns = (_windows(length, size) for length in gradient.shape[2:])
    return torch.stack(
        [
            torch.stack(
                [_representative(gradient[..., row, column].flatten(2), pooling) for column in columns], -1
            )
            for row in rows
        ],
        -2,
    )


def _windows(length: int, size: int) -> list[slice]:
    """Divide an axis into adaptive windows."""
    size = min(size, length)
    return [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]


def _representative(window: Tensor, pooling: str) -> Tensor:
    """Choose or average over the last axis."""
    if pooling == "mean":
        return window.mean(-1)
    selected = (window.abs() if pooling == "abs-max" else window).argmax(-1, keepdim=True)
    return window.gather(-1, selected).squeeze(-1)


def _on_both(change: Callable[[Gradients], Gradients], pair: Pair) -> Pair:
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
    """Rank by magnitude."""
    return [g.abs() for g in real.mean]


def _sensitivity(real: RealGradients) -> Gradients:
    """Rank by how much noise on the images changes an entry."""
    assert real.perturbed is not None
    return [(noisy - clean).abs() for noisy, clean in zip(real.perturbed, real.parts[0], strict=True)]


def _stability(real: RealGradients) -> Gradients:
    """Rank by how little noise on the images changes an entry."""
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
