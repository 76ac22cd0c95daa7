"""Arrays, tensors and torch data sets in memory to `ImageSet`s."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from datacondense.data.config import check_form
from datacondense.data.decode import decode_images, widened
from datacondense.data.labels import counted_classes, integer_labels
from datacondense.data.normalisation import pixel_statistics
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL converts colour to grey


def from_arrays(
    images: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor | Sequence[int],
    *,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    source: str = "arrays",
) -> ImageSet:
    """Build an image set from pixels and labels in memory.

    Of four axes, the channel axis is axis 1 where that has 1 or 3 entries, else axis 3 where that has. Pixels are
    copied.

    Args:
        images: `[N, H, W]` (grey), `[N, C, H, W]` or `[N, H, W, C]` with C 1 or 3; whole numbers in 0-255, or
            floating-point numbers in pixel scale (0 to 1). Not normalised: normalisation is applied when networks
            see them.
        labels: Class numbers `[N]` in 0..K-1.
        class_names: The K names; "0" to "K-1" where None, and then every number must be in use.
        mean: Normalisation mean per channel in pixel scale; computed from the images where None. A test set takes
            the mean and std of its training set.
        std: Normalisation standard deviation per channel, likewise; given together with `mean`.
        source: Name of the data set; where the catalogue knows it, so are `may_be_mirrored` and `augmentation`.

    Returns:
        The image set: uint8 where whole numbers were given, float32 otherwise.

    Raises:
        InputError: The axes, the kind of number, the range of the pixels or the labels break a rule.
    """
    if (mean is None) != (std is None):
        raise InputError("Only one of mean and std is given, but they belong together: give both or neither.")
    return _image_set(image_tensor(images), labels, class_names, mean, std, source)


def from_torch_dataset(
    dataset: Any,
    *,
    class_names: Sequence[str] | None = None,
    resize: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Build an image set from a torch data set of (image, label) pairs; no `DataLoader` is needed.

    Args:
        dataset: A map-style data set (with a length and integer positions). Images are PIL images, or arrays or
            tensors `[H, W]`, `[C, H, W]` or `[H, W, C]` with C 1 or 3 of uint8 in 0-255 or floating-point numbers in
            0-1, not normalised. Labels are class numbers in 0..K-1.
        class_names: The K names; the attribute `classes` of the data set where None, and "0" to "K-1" where it has
            none.
        resize: Side in pixels of the square that every image is resized to; needed where sizes differ.
        channels: 1 for grey, 3 for colour; what the images have where None.

    Returns:
        The image set, with the normalisation of its own pixels.

    Raises:
        InputError: The data set is not map-style, is empty, or has images or labels of another form.
    """
    check_form(resize, channels)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputError(
            f"{type(dataset).__name__} is not a map-style data set (it lacks a length or positions): collect its "
            "pairs in a list and give that."
        )
    if len(dataset) == 0:
        raise InputError("The data set is empty: it needs at least one image of each class.")
    samples = [_sample(dataset[index], index) for index in range(len(dataset))]
    images = _stacked([image for image, _ in samples], resize, channels)
    found = getattr(dataset, "classes", None)
    names = class_names or (found if isinstance(found, (list, tuple)) else None)
    labels = [label for _, label in samples]
    return _image_set(images, labels, names, None, None, type(dataset).__name__)


def image_tensor(images: NDArray[Any] | Tensor) -> Tensor:
    """Convert images, as `from_arrays` takes them, to a uint8 or float32 copy `[N, C, H, W]` on the CPU."""
    array = _channels_first(_as_array(images))
    if array.dtype.kind in "iu":
        _check_range(array, 255)
        return torch.from_numpy(array.astype(np.uint8, order="C"))
    if array.dtype.kind != "f":
        raise InputError(
            f"Images are {array.dtype}, but must be whole numbers in 0-255 or floating-point numbers in 0-1: convert "
            "them."
        )
    _check_range(array, 1)
    return torch.from_numpy(array.astype(np.float32, order="C"))


def reformed(images: Tensor, resize: int | None, channels: int | None) -> Tensor:
    """Return images `[N, C, H, W]` resized (bilinear, antialiased) and with 1 or 3 channels; None keeps either."""
    if images.dtype == torch.uint8 and (resize is not None or channels is not None):
        return _decoded(list(images.permute(0, 2, 3, 1).numpy()), resize, channels or images.shape[1])
    if resize is not None:
        # Rounding may step over the ends of the scale.
        images = F.interpolate(images, size=(resize, resize), mode="bilinear", antialias=True).clamp(0, 1)
    if channels == 1 and images.shape[1] == 3:
        images = (images * torch.tensor(_LUMINANCE).view(-1, 1, 1)).sum(1, keepdim=True)
    return widened(images) if channels == 3 else images


def _image_set(
    images: Tensor,
    labels: Any,
    class_names: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    source: str,
) -> ImageSet:
    """Check labels; name classes and compute the normalisation where they are not given."""
    numbers = integer_labels(labels)
    if len(numbers) != len(images):
        raise InputError(
            f"There are {len(images)} images but {len(numbers)} labels, and every image needs one: give as many of "
            "each."
        )
    if mean is None or std is None:
        mean, std = pixel_statistics(images)
    names = tuple(map(str, class_names)) if class_names is not None else counted_classes(numbers)
    return ImageSet(
        images=images,
        labels=numbers,
        class_names=names,
        mean=tuple(mean),
        std=tuple(std),
        provenance={"source": {"name": source, "num_images": len(images)}},
        dataset=source,
        **facts_of(source)._asdict(),
    )


def _as_array(images: Any) -> NDArray[Any]:
    """Return an array or a tensor on any device as a NumPy array."""
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
    return np.asarray(images)


def _channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """Move the channels to `[N, C, H, W]`; see `from_arrays` for the rule."""
    if array.size == 0:
        raise InputError(
            f"Images have shape {array.shape}, which is empty: give at least one image of each class."
        )
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in {1, 3}:
        return array
    if array.ndim == 4 and array.shape[3] in {1, 3}:
        return array.transpose(0, 3, 1, 2)
    raise InputError(
        f"Images have shape {array.shape}, but must be [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels: "
        "reorder the axes, or drop the channels that are no colour."
    )


def _check_range(array: NDArray[Any], high: int) -> None:
    """Check that pixels are in 0 to `high`; `ImageSet` checks that they are finite."""
    low_found, high_found = array.min(), array.max()
    if low_found < 0 or high_found > high:
        kind, remedy = "Whole-number", "scale them, or give uint8"
        if high == 1:
            kind = "Floating-point"
            remedy = "divide by 255, or undo the normalisation (it is applied when networks see them)"
        raise InputError(
            f"{kind} pixels run from {low_found:g} to {high_found:g}, but must be in 0 to {high}: {remedy}."
        )


def _sample(sample: Any, index: int) -> tuple[Any, int]:
    """Check one (image, label) pair."""
    try:
        image, label = sample
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Item {index} of the data set is not an (image, label) pair but a {type(sample).__name__}: wrap the data "
            "set in one that returns pairs."
        ) from error
    number = _as_array(label)
    if number.size != 1 or number.dtype.kind not in "iu":
        raise InputError(
            f"Item {index} of the data set has the label {label!r}, but a label is one whole number from 0: number the "
            "classes."
        )
    return image, int(number.item())


def _stacked(images: list[Any], resize: int | None, channels: int | None) -> Tensor:
    """Stack the images of a torch data set: floating-point ones as they are, others decoded."""
    arrays = [image if isinstance(image, Image.Image) else _as_array(image) for image in images]
    floating = [not isinstance(image, Image.Image) and image.dtype.kind == "f" for image in arrays]
    if not any(floating):
        return _decoded(
            [_channels_last(image, index) for index, image in enumerate(arrays)], resize, channels
        )
    if not all(floating):
        raise InputError(
            f"Item {floating.index(True)} of the data set has floating-point pixels and item {floating.index(False)} "
            "has others, but all must be of one kind: convert them."
        )
    tensors = [reformed(image_tensor(np.asarray(image)[None]), resize, channels) for image in arrays]
    for index, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise InputError(
                f"Item 0 of the data set has shape {tuple(tensors[0].shape[1:])} but item {index} has "
                f"{tuple(tensor.shape[1:])}, and images must share one: give resize, such as resize=32, or channels."
            )
    return torch.cat(tensors)


def _channels_last(image: Any, index: int) -> Any:
    """Return whole-number pixels of one image as uint8 `[H, W, C]`, and a PIL image as it is."""
    if isinstance(image, Image.Image):
        return image
    if image.ndim not in {2, 3}:
        raise InputError(
            f"Item {index} of the data set has an image of shape {image.shape}, but it must be [H, W], [C, H, W] or "
            "[H, W, C]: convert it."
        )
    return image_tensor(image[None])[0].permute(1, 2, 0).numpy()


def _decoded(images: list[Any], resize: int | None, channels: int | None) -> Tensor:
    """Decode images in memory; messages name their positions."""
    return decode_images(images, (f"Image {i}" for i in range(len(images))), resize=resize, channels=channels)
