"""CutMix (Yun et al., ICCV 2019): a box of each image comes from another one, and so does its share of the label."""

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.cuda_graphs import sent


def mixed(
    images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """Mix a batch with a random order of itself, or leave it as it is, with labels as distributions in either case.

    One box serves the whole batch. It covers 1-λ of an image, λ uniform in 0 to 1, its centre is uniform over the
    pixels, and it is cut off at the border. A label is `λ' · own + (1-λ') · other`, 1-λ' the share that was pasted.

    Args:
        images: Images of any scale, `[B, C, H, W]`.
        labels: Class numbers `[B]`, int64, or distributions `[B, K]`.
        num_classes: The number of classes K.
        generator: A CPU generator; the same numbers are drawn whether or not the batch is mixed.
        probability: How likely it is mixed, 0 to 1.

    Returns:
        New images, and distributions `[B, K]` of their type.
    """
    drawn, kept, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    order = torch.randperm(len(images), generator=generator)
    own = (labels if labels.dim() == 2 else F.one_hot(labels, num_classes)).to(images.dtype)
    if drawn >= probability:
        return images, own
    order, (height, width) = sent(order, images.device), images.shape[2:]
    rows, columns = _box(kept, down, right, height, width)
    pasted = images.clone()
    pasted[:, :, rows, columns] = images[order, :, rows, columns]
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return pasted, (1 - share) * own + share * own[order]


def _box(kept: float, down: float, right: float, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of the box that leaves a share of the image, its centre given in 0 to 1."""
    side = (1 - kept) ** 0.5
    return _span(down, height, side), _span(right, width, side)


def _span(centre: float, size: int, side: float) -> slice:
    """Return what a box covers of one axis, twice half of its length rounded down, as published."""
    middle, half = int(centre * size), int(size * side) // 2
    return slice(max(0, middle - half), min(size, middle + half))
