"""RDED (Sun et al., CVPR 2024): the crops of real images that a teacher finds easiest, several in one image."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.evaluation.soft_labels import teacher_logits
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator
from datacondense.selection.by_class import Ipc, rounded, select_by_class

_CANDIDATES = 300  # images of a class that are looked at, as published
_CROPS = 5  # of each
_LEAST_AREA = 0.08  # of an image, as in random resized crops


def select_rded(train: ImageSet, ipc: Ipc, teacher: TrainedNetwork, seed: int) -> ImageSet:
    """Select the crops that a teacher is surest of, class by class (Sun et al. 2024, section 4).

    Of each of 300 random images of a class, 5 random crops with the shape of the image (area uniform in 8 to 100 %)
    are enlarged to its size and scored by the teacher's cross-entropy with the class; the best crop of each image
    stays, and the best of those are selected, in order. With `tiled` several of them make one stored image.

    Args:
        train: The real images.
        ipc: Crops per class, or the number of each class.
        teacher: A network trained on all of them.
        seed: Seed of images and crops.

    Returns:
        The crops, uint8 unless the images are whitened, class by class, the best first; the provenance has the
        positions of their images as "indices".

    Raises:
        InputError: A class has fewer images than are wanted, or none.
    """
    crops: list[Tensor] = []

    def choose(label: int, members: Tensor, number: int) -> Tensor:
        generator = seeded_generator(seed, "rded", label)
        looked_at = torch.randperm(len(members), generator=generator)[: max(number, _CANDIDATES)]
        pixels = train.pixels(members[looked_at.to(members.device)])
        best, losses = _best_crops(train, pixels, label, teacher, generator)
        order = losses.argsort(stable=True)[:number].cpu()
        crops.append(rounded(best[order.to(best.device)], train))
        return looked_at[order]

    selected = select_by_class(train, ipc, choose, method="rded", run={"seed": seed})
    images = torch.cat(crops)
    provenance = {**selected.provenance, "teacher": teacher.network.name}
    return replace(selected, images=images.to(train.images.device), provenance=provenance)


def _best_crops(
    train: ImageSet, pixels: Tensor, label: int, teacher: TrainedNetwork, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the best of some random crops of each image `[N, C, H, W]`, and its loss `[N]`."""
    losses, found = [], []
    for _ in range(_CROPS):
        crops = _random_crops(pixels, generator)
        logits = teacher_logits(teacher, train.normalise(crops))
        target = torch.full((len(crops),), label, device=logits.device)
        losses.append(F.cross_entropy(logits, target, reduction="none"))
        found.append(crops)
    least = torch.stack(losses).min(0)
    rows = torch.arange(len(pixels), device=pixels.device)
    return torch.stack(found)[least.indices.to(rows.device), rows], least.values


def _random_crops(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Cut a part with the image's shape out of each image `[N, C, H, W]`, and enlarge it bilinearly."""
    drawn = torch.rand(len(pixels), 3, generator=generator, dtype=torch.float64)
    side = (_LEAST_AREA + (1 - _LEAST_AREA) * drawn[:, 0]).sqrt()
    # Where the middle may lie, in the coordinates -1 to 1 of `affine_grid`, so that the crop stays inside.
    middle = (2 * drawn[:, 1:] - 1) * (1 - side)[:, None]
    theta = torch.zeros(len(pixels), 2, 3, dtype=torch.float64)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = middle
    grid = F.affine_grid(theta.to(pixels), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, "bilinear", "border", align_corners=False)
