"""ZCA whitening of images, fitted on real training images: the scale in which many published sets were learned.

Images are rows x `[D]` of all their numbers, and x becomes (x - c) W with W = U diag(1/√(s + r)) Uᵀ of the covariance
U diag(s) Uᵀ of the training images. The kinds differ in x, c and r:

zca    x in pixel scale, c its mean, r = ε (kornia's, as MTT, TESLA, DATM and DataDAM use it)
frepo  x normalised by channel, c its mean, r = ε tr/D
kip    x normalised by channel, less the image's own mean and divided by its norm, c = 0, r = ε tr/D
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.memory_limits import check_memory
from datacondense.set_metadata import Whitening, WhiteningKind

_BATCH = 2000  # images at a time
_LEAST_NORM = 1e-8  # of an image of one colour


def whitened(images: ImageSet, train: ImageSet, whitening: Whitening | None = None) -> ImageSet:
    """Whiten real images by the matrix that training images give, so that a whitened set can be scored on them.

    Args:
        images: Images in pixel scale, such as test images, or `train` itself.
        train: The real training images.
        whitening: How a set was whitened, its attribute `whitening`; ZCA with ε = 0.1 where None.

    Returns:
        The images in the whitened scale, float32, with mean 0 and std 1. The matrix of the last training images is
        kept for the process.

    Raises:
        InputError: The images are whitened already, the whitening was fitted on other training images, or its matrix
            would fill the memory.
    """
    known = whitening or Whitening("zca", 0.1, train.fingerprint)
    _check(known, train)
    if images.whitening is not None:
        raise InputError("The images are whitened already: give them as they were read.")
    centre, matrix, _ = _fitted(train, known.kind, known.epsilon)
    rows = torch.cat([(part - centre) @ matrix for part in _rows(images, train, known.kind)])
    channels = len(images.mean)
    return replace(
        images,
        images=rows.float().unflatten(1, images.image_shape),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        whitening=known,
    )


def unwhitened(images: ImageSet, train: ImageSet) -> ImageSet:
    """Return a whitened set in pixel scale, to look at or to export; networks that saw it whitened see it otherwise.

    Args:
        images: The whitened set.
        train: The real training images that its whitening was fitted on.

    Returns:
        The set with the normalisation of `train`; itself where it is not whitened.

    Raises:
        InputError: It was fitted on other images, or by KIP, which drops the brightness and contrast of every image.
    """
    known = images.whitening
    if known is None:
        return images
    _check(known, train)
    if known.kind == "kip":
        raise InputError(
            "KIP's whitening drops the brightness and contrast of every image, so pixels cannot be had back: look at "
            "the set as it is."
        )
    centre, _, inverse = _fitted(train, known.kind, known.epsilon)
    rows = (images.images.flatten(1).double() @ inverse + centre).unflatten(1, images.image_shape).float()
    if known.kind == "frepo":
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (train.mean, train.std))
        rows = rows * std + mean
    return replace(images, images=rows, mean=train.mean, std=train.std, whitening=None)


def stretched(images: ImageSet) -> ImageSet:
    """Return a whitened set to look at, from its least number, 0, to its greatest, 1; any other as it is."""
    if images.whitening is None:
        return images
    low, high = map(float, images.images.aminmax())
    return replace(images, images=(images.images - low) / max(high - low, 1e-8))


def _check(whitening: Whitening, train: ImageSet) -> None:
    """Check that a matrix can be fitted again."""
    if whitening.fitted_on != train.fingerprint:
        raise InputError(
            f"The whitening was fitted on training images with the fingerprint {whitening.fitted_on}, but these have "
            f"{train.fingerprint}: give the data set that the set was imported on, read in the same way."
        )


def _rows(images: ImageSet, train: ImageSet, kind: WhiteningKind) -> Iterator[Tensor]:
    """Yield images as rows `[M, D]` of float64 in the scale of their kind, some thousand at a time."""
    for positions in torch.arange(len(images)).split(_BATCH):
        pixels = images.pixels(positions)
        rows = (pixels if kind == "zca" else train.normalise(pixels)).flatten(1).double()
        if kind == "kip":
            rows = rows - rows.mean(1, keepdim=True)
            rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=_LEAST_NORM)
        yield rows


@lru_cache(maxsize=1)
def _fitted(train: ImageSet, kind: WhiteningKind, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute centre `[D]`, whitening matrix and its inverse `[D, D]`, in float64."""
    d = prod(train.image_shape)
    check_memory(8 * 5 * d * d, f"The whitening matrices of images of {d} numbers", "give a smaller --resize")
    total, products = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for rows in _rows(train, train, kind):
        total += rows.sum(0)
        products.addmm_(rows.mT, rows)
    centre = torch.zeros_like(total) if kind == "kip" else total / len(train)
    covariance = products / len(train) - torch.outer(centre, centre)
    values, vectors = torch.linalg.eigh(covariance)
    added = epsilon if kind == "zca" else epsilon * float(values.mean())
    roots = (values.clamp(min=0) + added).sqrt()
    return centre, (vectors / roots) @ vectors.mT, (vectors * roots) @ vectors.mT
