"""The items of map-style data sets: torch's pairs, and the dicts of the Hugging Face `datasets` library."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datacondense.data.pixels import as_array, decoded, image_tensor, reformed
from datacondense.errors import InputError

IMAGE_KEYS = ("image", "img")
LABEL_KEYS = ("label", "labels", "target", "class")


def samples_of(dataset: Any) -> tuple[list[Any], list[Any]]:
    """Return the images and the labels of a data set."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or isinstance(dataset, Mapping):
        splits = (
            f"; it has the entries {', '.join(map(str, dataset))}" if isinstance(dataset, Mapping) else ""
        )
        raise InputError(
            f"{type(dataset).__name__} is not a map-style data set (with a length and positions{splits}): collect its "
            "pairs in a list, or give one split."
        )
    if len(dataset) == 0:
        raise InputError("The data set is empty: it needs at least one image of each class.")
    samples = [_sample(dataset[index], index) for index in range(len(dataset))]
    return [image for image, _ in samples], [label for _, label in samples]


def found_names(dataset: Any) -> Sequence[str] | None:
    """Return the class names that a data set knows: its own, or those of the one that it is a subset of."""
    while dataset is not None:
        names = getattr(dataset, "classes", None)
        if names is None:
            features = getattr(dataset, "features", None)
            features = features if isinstance(features, Mapping) else {}
            names = next(
                (getattr(features[key], "names", None) for key in LABEL_KEYS if key in features), None
            )
        if isinstance(names, (list, tuple)):
            return names
        dataset = getattr(dataset, "dataset", None)
    return None


def stacked(images: list[Any], resize: int | None, channels: int | None) -> Tensor:
    """Stack images: floating-point ones as they are, others decoded."""
    arrays = [image if isinstance(image, Image.Image) else as_array(image) for image in images]
    floating = [not isinstance(image, Image.Image) and image.dtype.kind == "f" for image in arrays]
    if not any(floating):
        return decoded([_channels_last(image, index) for index, image in enumerate(arrays)], resize, channels)
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


def _sample(sample: Any, index: int) -> tuple[Any, int | str]:
    """Check one item."""
    if isinstance(sample, Mapping):
        image, label = _entry(sample, IMAGE_KEYS, index), _entry(sample, LABEL_KEYS, index)
    else:
        try:
            image, label = sample
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Item {index} of the data set is not an (image, label) pair but a {type(sample).__name__}: wrap the "
                "data set in one that returns pairs."
            ) from error
    value = as_array(label)
    if value.size != 1 or value.dtype.kind not in "iubU":
        raise InputError(
            f"Item {index} of the data set has the label {label!r}, but a label is one whole number or string: number "
            "the classes."
        )
    return image, value.item()


def _entry(sample: Mapping[str, Any], keys: Sequence[str], index: int) -> Any:
    """Return the entry of a dict that has one of these names."""
    found = [key for key in keys if key in sample]
    if not found:
        raise InputError(
            f"Item {index} of the data set has the entries {', '.join(map(str, sample))}, but one called "
            f"{' or '.join(keys)} is needed: rename it, or wrap the data set in one that returns (image, label) pairs."
        )
    return sample[found[0]]


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
