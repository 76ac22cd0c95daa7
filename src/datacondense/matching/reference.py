"""The matching objective by explicit loops: slow, obvious, and what the tests compare the fast path with.

Nothing here is shared with `gradients.py`, `distances.py` or `transforms.py` on purpose. Images are taken one at a
time, layers one at a time, output units, kernels and entries one at a time, and all classes stay in one graph until a
single backward pass.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import ceil, inf
from typing import NamedTuple

import torch
from torch import Tensor

_EPSILON = 1e-6


class Gradients(NamedTuple):
    """The gradients of one class, in every form that a transform uses.

    Attributes:
        real: For the real images, one tensor per compared parameter.
        parts: For each sub-batch of the real images.
        noisy: For the first sub-batch with noise on its images; empty where no transform needs it.
        synthetic: For the synthetic images.
    """

    real: list[Tensor]
    parts: list[list[Tensor]]
    noisy: list[Tensor]
    synthetic: list[Tensor]


def mean_gradients(
    model: Callable[[dict[str, Tensor], Tensor], Tensor],
    parameters: dict[str, Tensor],
    compared: Sequence[str],
    images: Tensor,
    label: int,
) -> list[Tensor]:
    """Return the mean of the loss gradients of single images `[N, C, H, W]` of one class, graph kept.

    Valid where images do not see each other (no live BatchNorm). The compared parameters require gradients.
    """
    sums = [torch.zeros_like(parameters[name]) for name in compared]
    for image in images:
        logits = model(parameters, image[None])[0]
        loss = torch.logsumexp(logits, 0) - logits[label]
        gradients = torch.autograd.grad(loss, [parameters[name] for name in compared], create_graph=True)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
    return [total / len(images) for total in sums]


def distance(kind: str, real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Compare two lists of gradients number by number: "layerwise-cosine", "flat-cosine", "squared" or "absolute"."""
    total = real[0].new_zeros(())
    if kind in {"squared", "absolute"}:
        for g, s in zip(real, synthetic, strict=True):
            total = total + ((g - s) ** 2 if kind == "squared" else (g - s).abs()).sum()
        return total
    if kind == "flat-cosine":
        return _one_minus_cosine(real, synthetic)
    for g, s in zip(real, synthetic, strict=True):
        units = [(g, s)] if g.dim() == 1 else zip(g, s, strict=True)
        for g_unit, s_unit in units:
            total = total + _one_minus_cosine([g_unit], [s_unit])
    return total


def matching_gradient(
    model: Callable[[dict[str, Tensor], Tensor], Tensor],
    parameters: dict[str, Tensor],
    compared: Sequence[str],
    real: Tensor,
    synthetic: Tensor,
    *,
    kind: str,
    transforms: Sequence[str] = (),
    perturbed: Callable[[Tensor, int], Tensor] | None = None,
    joint: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the distances `[K]` and the gradient of their sum, all classes at once.

    Real images are `[K, B, C, H, W]`, synthetic ones and the gradient `[K, S, C, H, W]`. With `joint` the classes' mean
    gradients are compared instead, in one distance `[1]`. `perturbed` puts noise on real images of a class.
    """
    parameters = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    leaf = synthetic.detach().requires_grad_()
    found = []
    for label in range(len(synthetic)):

        def gradients(images: Tensor, label: int = label) -> list[Tensor]:
            return [g.detach() for g in mean_gradients(model, parameters, compared, images, label)]

        parts = sub_batches(real[label], transforms)
        noisy = gradients(perturbed(parts[0], label)) if _want_noise(transforms) and perturbed else []
        synthetic_side = mean_gradients(model, parameters, compared, leaf[label], label)
        found.append(
            Gradients(gradients(real[label]), [gradients(part) for part in parts], noisy, synthetic_side)
        )
    if joint:
        found = [_mean_of_classes(found)]
    for name in transforms:
        found = [transform(name, each) for each in found]
    values = torch.stack([distance(kind, each.real, each.synthetic) for each in found])
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def sub_batches(images: Tensor, transforms: Sequence[str]) -> list[Tensor]:
    """Return real images `[B, C, H, W]` in P parts, the first ones larger by one where P leaves a rest.

    P is the largest number that a transform needs, 4 for "keep-snr". Where only noise is needed, the first eighth is
    apart; where nothing is, there are no parts.
    """
    numbers = [int(name.partition(":")[2]) for name in transforms if name.startswith("wiener")]
    numbers += [4 for name in transforms if name.startswith("keep-snr")]
    if numbers:
        P = max(numbers)
        sizes = [len(images) // P + (1 if p < len(images) % P else 0) for p in range(P)]
    elif _want_noise(transforms):
        eighth = ceil(len(images) / 8)
        sizes = [eighth, len(images) - eighth]
    else:
        sizes = []
    ends = [sum(sizes[: p + 1]) for p in range(len(sizes))]
    return [images[end - size : end] for size, end in zip(sizes, ends, strict=True) if size]


def transform(name: str, gradients: Gradients) -> Gradients:
    """Apply one transform, its number in full, entry by entry."""
    kind, _, number = name.partition(":")
    if "-pool-" in kind:
        pooling, _, size = kind.partition("-pool-")
        pooled = [[pool_kernels(g, pooling, int(size)) for g in group] for group in _groups(gradients)]
        return Gradients(pooled[0], pooled[3:], pooled[1], pooled[2])
    if kind == "wiener":
        # 1 / (1 + 1 / s) is the filter s / (1 + s), also where the ratio is infinite.
        weights = [[1 / (1 + 1 / s) if s else 0.0 for s in ratios] for ratios in signal_to_noise(gradients)]
        real, noisy, _, *parts = [_times(group, weights) for group in _groups(gradients)]
        return Gradients(real, parts, noisy, gradients.synthetic)
    if kind == "keep-snr":
        kept = [[float(s >= float(number)) for s in ratios] for ratios in signal_to_noise(gradients)]
    else:
        kept = keep(scores(kind, gradients), number, together=kind.endswith("-global"))
    real, noisy, synthetic, *parts = [_times(group, kept) for group in _groups(gradients)]
    return Gradients(real, parts, noisy, synthetic)


def pool_kernels(gradient: Tensor, pooling: str, size: int) -> Tensor:
    """Return each kernel of a convolution `[O, I, h, w]` as size × size values; a smaller one, or no kernel, as it is.

    Window i of an axis of length k holds the entries that touch the stretch from i·k/size to (i+1)·k/size.
    """
    if gradient.dim() != 4:
        return gradient
    values = []
    for filter_gradient in gradient:
        for kernel in filter_gradient:
            height, width = (min(size, side) for side in kernel.shape)
            for row in range(height):
                for column in range(width):
                    window = [
                        kernel[r, c]
                        for r in _touching(row, kernel.shape[0], height)
                        for c in _touching(column, kernel.shape[1], width)
                    ]
                    values.append(_stand_in(window, pooling))
    return torch.stack(values).view(*gradient.shape[:2], *(min(size, side) for side in gradient.shape[2:]))


def scores(kind: str, gradients: Gradients) -> list[list[float]]:
    """Return the scores by which a mask (its name without its fraction) ranks the entries of each tensor."""
    kind = kind.removesuffix("-global")
    if kind == "keep-magnitude":
        return [[abs(value) for value in _numbers(g)] for g in gradients.real]
    sign = {"keep-sensitive": 1.0, "keep-stable": -1.0}[kind]
    return [
        [sign * abs(a - b) for a, b in zip(_numbers(noisy), _numbers(clean), strict=True)]
        for noisy, clean in zip(gradients.noisy, gradients.parts[0], strict=True)
    ]


def keep(scores: list[list[float]], fraction: str, *, together: bool) -> list[list[float]]:
    """Return 1 for the entries with the highest scores, among equal ones the first, and 0 for the others.

    `fraction` of n entries, rounded up, is kept, as it is written. Either all tensors are one ranking, or each has its
    own.
    """
    if together:
        joined = iter(keep([[score for tensor in scores for score in tensor]], fraction, together=False)[0])
        return [[next(joined) for _ in tensor] for tensor in scores]
    masks = []
    for tensor in scores:
        # Sorting keeps the order of equal ones, in reverse too.
        ranked = sorted(range(len(tensor)), key=tensor.__getitem__, reverse=True)
        selected = set(ranked[: ceil(Decimal(fraction) * len(tensor))])
        masks.append([1.0 if entry in selected else 0.0 for entry in range(len(tensor))])
    return masks


def signal_to_noise(gradients: Gradients) -> list[list[float]]:
    """Return the square of each entry over the variance of the mean over the P sub-batches, which is their own over P.

    Infinite where the sub-batches agree; 0 where they agree on 0.
    """
    ratios = []
    for index, mean in enumerate(gradients.real):
        seen = zip(_numbers(mean), *(_numbers(part[index]) for part in gradients.parts), strict=True)
        ratios.append([_ratio(m, parts) for m, *parts in seen])
    return ratios


def _ratio(mean: float, parts: list[float]) -> float:
    """Divide for one entry."""
    middle = sum(parts) / len(parts)
    variance = sum((part - middle) ** 2 for part in parts) / (len(parts) - 1) / len(parts)
    if variance == 0:
        return inf if mean else 0.0
    return mean**2 / variance


def _want_noise(transforms: Sequence[str]) -> bool:
    """Whether a mask needs noisy images."""
    return any(name.startswith(("keep-stable", "keep-sensitive")) for name in transforms)


def _groups(gradients: Gradients) -> list[list[Tensor]]:
    """Return real, noisy, synthetic, then the parts."""
    return [gradients.real, gradients.noisy, gradients.synthetic, *gradients.parts]


def _mean_of_classes(found: Sequence[Gradients]) -> Gradients:
    """Average each gradient over the classes, every class counting the same."""
    real, noisy, synthetic, *parts = [
        [torch.stack(tensors).sum(0) / len(found) for tensors in zip(*classes, strict=True)]
        for classes in zip(*map(_groups, found), strict=True)
    ]
    return Gradients(real, parts, noisy, synthetic)


def _times(group: list[Tensor], factors: list[list[float]]) -> list[Tensor]:
    """Multiply every entry by its own number."""
    # Noisy gradients may be absent.
    return [g * torch.tensor(f, dtype=g.dtype).view_as(g) for g, f in zip(group, factors, strict=bool(group))]


def _numbers(gradient: Tensor) -> list[float]:
    """Return the entries, row by row."""
    numbers: list[float] = gradient.detach().flatten().tolist()
    return numbers


def _touching(window: int, length: int, windows: int) -> list[int]:
    """Return the indices of an axis that a window overlaps."""
    return [
        index
        for index in range(length)
        if (index + 1) * windows > window * length and index * windows < (window + 1) * length
    ]


def _stand_in(window: list[Tensor], pooling: str) -> Tensor:
    """Return the value for a window, the first where some are equal."""
    if pooling == "mean":
        return torch.stack(window).sum() / len(window)
    best = window[0]
    for entry in window[1:]:
        larger = entry.abs() > best.abs() if pooling == "abs-max" else entry > best
        best = entry if bool(larger) else best
    return best


def _one_minus_cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Compute `1 - <g, s> / (|g| |s| + epsilon)` of two vectors given in parts."""
    dot = sum(((g * s).sum() for g, s in zip(real, synthetic, strict=True)), start=real[0].new_zeros(()))
    real_square = sum(((g**2).sum() for g in real), start=real[0].new_zeros(()))
    synthetic_square = sum(((s**2).sum() for s in synthetic), start=real[0].new_zeros(()))
    return 1 - dot / (_root(real_square) * _root(synthetic_square) + _EPSILON)


def _root(square: Tensor) -> Tensor:
    """Compute the root; a dead unit's is 0 with slope 0, where the formula's slope is infinite."""
    return square.sqrt() if float(square.detach()) > 0 else square
