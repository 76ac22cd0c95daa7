"""Arrays, tensors and torch data sets in memory to `ImageSet`s."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from datacondense.data.config import check_form
from datacondense.data.labels import numbered, only_present
from datacondense.data.normalisation import pixel_statistics
from datacondense.data.pixels import image_tensor
from datacondense.data.samples import found_names, samples_of, stacked
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet


def from_arrays(
    images: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor | Sequence[int] | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    source: str = "arrays",
) -> ImageSet:
    """Build an image set from pixels and labels in memory.

    Of four axes, the channel axis is axis 1 where that has 1 or 3 entries, else axis 3 where that has. Pixels are
    copied.

    Args:
        images: `[N, H, W]` (grey), `[N, C, H, W]` or `[N, H, W, C]` with C 1 or 3; whole numbers in 0-255, or
            floating-point numbers in pixel scale (0 to 1). Not normalised: normalisation is applied when networks
            see them.
        labels: `[N]` or `[N, 1]`, whole numbers or strings of any values.
        class_names: The K names; labels are then class numbers in 0..K-1, or names. Where None, each value is a class,
            named by it and numbered in sorted order. A test set takes the names of its training set.
        mean: Normalisation mean per channel in pixel scale; computed from the images where None. A test set takes
            the mean and std of its training set.
        std: Normalisation standard deviation per channel, likewise; given together with `mean`.
        pixel_range: The least and the greatest that floating-point pixels may be, in pixel scale; learned pixels may
            lie outside 0 to 1, such as (-1, 2).
        source: Name of the data set; where the catalogue knows it, so are `may_be_mirrored` and `augmentation`.

    Returns:
        The image set: uint8 where whole numbers were given, float32 otherwise.

    Raises:
        InputError: The axes, the kind of number, the range of the pixels or the labels break a rule.
    """
    if (mean is None) != (std is None):
        raise InputError("Only one of mean and std is given, but they belong together: give both or neither.")
    names, numbers = numbered(labels, class_names)
    return _image_set(image_tensor(images, pixel_range), numbers, names, mean, std, source)


def from_torch_dataset(
    dataset: Any,
    *,
    class_names: Sequence[str] | None = None,
    resize: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Build an image set from a torch or Hugging Face data set in memory; no `DataLoader` is needed.

    Classes without an image, as in a `Subset`, are left out, and the others are numbered in their order.

    Args:
        dataset: A map-style data set (with a length and integer positions) of (image, label) pairs, or of dicts with
            `image` or `img`, and `label`, `labels`, `target` or `class`. Images are PIL images, or arrays or
            tensors `[H, W]`, `[C, H, W]` or `[H, W, C]` with C 1 or 3 of uint8 in 0-255 or floating-point numbers in
            0-1, not normalised. Labels are whole numbers or strings.
        class_names: The names of the classes 0..K-1. Where None, they are found: the attribute `classes` of the data
            set or of that which it is a subset of, or the names of the label's feature. Where there are none, each
            value is a class, named by it and numbered in sorted order.
        resize: Side in pixels of the square that every image is resized to; needed where sizes differ.
        channels: 1 for grey, 3 for colour; what the images have where None.

    Returns:
        The image set, with the normalisation of its own pixels.

    Raises:
        InputError: The data set is not map-style, is empty, or has images or labels of another form.
    """
    check_form(resize, channels)
    images, labels = samples_of(dataset)
    pixels = stacked(images, resize, channels)
    names, numbers = numbered(labels, class_names if class_names is not None else found_names(dataset))
    names, numbers = only_present(names, numbers)
    return _image_set(pixels, numbers, names, None, None, type(dataset).__name__)


def _image_set(
    images: Tensor,
    labels: list[int],
    class_names: tuple[str, ...],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    source: str,
) -> ImageSet:
    """Compute the normalisation where it is not given."""
    if len(labels) != len(images):
        raise InputError(
            f"There are {len(images)} images but {len(labels)} labels, and every image needs one: give as many of each."
        )
    if mean is None or std is None:
        mean, std = pixel_statistics(images)
    return ImageSet(
        images=images,
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=class_names,
        mean=tuple(mean),
        std=tuple(std),
        provenance={"source": {"name": source, "num_images": len(images)}},
        dataset=source,
        **facts_of(source)._asdict(),
    )
