"""`ImageSet`: pixels, labels, class names and pixel scale, whatever they came from: read, selected or condensed.

Axes, here and everywhere: K classes, S synthetic images per class, B real images per class, N images, R networks
trained together, C H W channels, height, width.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from datacondense.cuda_graphs import sent
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.files import checked, reading
from datacondense.renamed import current_names
from datacondense.set_metadata import ENTRIES, Metadata
from datacondense.tensor_files import read_tensors, write_tensors

FORMAT = "datacondense.image_set"
FORMAT_VERSION = "1"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageSet:
    """A labelled set of images with its pixel scale.

    Attributes:
        images: Pixels `[N, C, H, W]`: uint8 in 0-255 for images that were read, or float32 in pixel scale
            (0 to 1, not clamped) for images that were learned.
        labels: Class numbers `[N]`, int64, in 0..K-1.
        class_names: The K names, in the order of the labels.
        mean: Normalisation mean per channel, in pixel scale (0 to 1).
        std: Normalisation standard deviation per channel, in pixel scale.
        provenance: What is known of its origin (source, method, settings, seed, versions); plain JSON values.
        dataset: Name of the data set that it stands for, as in `load`; None where it has none.
        may_be_mirrored: Whether a mirrored image keeps its class.
        augmentation: The strategy with which published evaluation trains on the data set.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    may_be_mirrored: bool = True
    augmentation: str = "none"

    def __post_init__(self) -> None:
        low, high = _checked_range(self.images)
        _check_labels(self.labels, len(self.images), len(self.class_names))
        _check_normalisation(self.mean, self.std, self.images.shape[1], (low, high))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        pixels = f"{'×'.join(map(str, self.image_shape))} {str(self.images.dtype).removeprefix('torch.')}"
        origin = [text for text in (self.dataset, self.provenance.get("method")) if text]
        counts = f"{len(self)} images of {self.num_classes} classes"
        return f"ImageSet({', '.join([counts, pixels, *map(str, origin)])})"

    @property
    def num_classes(self) -> int:
        """The number of classes K, whether or not each has an image."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def class_indices(self) -> tuple[Tensor, ...]:
        """For each class, the positions `[n_k]` of its images, in order."""
        return tuple(torch.nonzero(self.labels == label).flatten() for label in range(self.num_classes))

    @property
    def class_sizes(self) -> tuple[int, ...]:
        """The number of images of each class."""
        return tuple(len(indices) for indices in self.class_indices)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any pixel, label or class name."""
        digest = hashlib.sha256(repr((self.image_shape, str(self.images.dtype), self.class_names)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def pixels(self, indices: Tensor | None = None) -> Tensor:
        """Return images in pixel scale.

        Args:
            indices: Positions `[M]`; all images where None.

        Returns:
            float32 `[M, C, H, W]`; 0 to 1, or beyond for learned images.
        """
        images = self.images if indices is None else self.images[indices]
        return images.float() / 255 if images.dtype == torch.uint8 else images

    def normalised(self, indices: Tensor | None = None) -> Tensor:
        """Return images as networks see them: `(pixels - mean) / std`.

        Args:
            indices: Positions `[M]`; all images where None.

        Returns:
            float32 `[M, C, H, W]`.
        """
        pixels = self.pixels(indices)
        mean, std = (
            sent(torch.tensor(v, dtype=torch.float32), pixels.device).view(-1, 1, 1)
            for v in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def subset(self, indices: Tensor) -> Self:
        """Return some images, in the order given.

        Args:
            indices: Positions `[M]`.

        Returns:
            The smaller set; all else is the same.
        """
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> Self:
        """Move pixels and labels to a device.

        Args:
            device: Where to.

        Returns:
            The set there; itself where it is there already.
        """
        if self.images.device == torch.device(device):
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def torch_dataset(self, *, normalised: bool = True) -> TensorDataset:
        """Return a map-style torch data set of (image, label) pairs, for any training code.

        Args:
            normalised: Whether images are normalised, as training needs them, or in pixel scale.

        Returns:
            The data set, in memory.
        """
        return TensorDataset(self.normalised() if normalised else self.pixels(), self.labels)

    def save(self, path: Path | str) -> None:
        """Write the set as one safetensors file, atomically; see `load`.

        Args:
            path: The file, by convention ending in `.safetensors`.

        Raises:
            InputError: The file cannot be written, or the disk is full.
        """
        write_tensors(Path(path), *file_content(self))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a set that `save` wrote.

        Args:
            path: The safetensors file.

        Returns:
            The same set, on the CPU.

        Raises:
            InputError: There is no such file, or it is a pickle, cut short, or not an image set.
        """
        path = Path(path)
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, but an image set is a file: give {path / 'condensed.safetensors'} for a run's "
                "result; load(…) reads data sets."
            )
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path} is a safetensors file but not an image set (its format entry is "
                f"{metadata.get('format')!r}, not {FORMAT!r}): give a file that datacondense wrote."
            )
        if metadata.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"{path} has format version {metadata.get('format_version')}, but this release reads version "
                f"{FORMAT_VERSION}: install the release that wrote it."
            )
        remedy = "it is damaged; copy it again or create it anew"
        with reading(path, "an image set", remedy):
            found = {name: json.loads(text) for name, text in metadata.items() if name in ENTRIES}
            checked(found, Metadata)
            provenance = current_names(found.pop("record"))
            if "dataset" not in found:  # written by a release that told the name only
                found["dataset"] = provenance.get("source", {}).get("name")
                found |= facts_of(found["dataset"])._asdict()
            facts: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
            }
            try:
                return cls(images=tensors["images"], labels=tensors["labels"], provenance=provenance, **facts)
            except InputError as error:
                raise InputError(f"{path} cannot be read as an image set ({error}): {remedy}.") from error


def file_content(images: ImageSet) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a set's file."""
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class_names": json.dumps(images.class_names),
        "mean": json.dumps(images.mean),
        "std": json.dumps(images.std),
        "record": json.dumps(images.provenance, sort_keys=True),
        "dataset": json.dumps(images.dataset),
        "may_be_mirrored": json.dumps(images.may_be_mirrored),
        "augmentation": json.dumps(images.augmentation),
    }
    return {"images": images.images, "labels": images.labels}, metadata


def check_trainable(images: ImageSet) -> None:
    """Check that a classifier can be learned from a set: two classes or more, each with an image."""
    if images.num_classes < 2:
        raise InputError(
            f"The data set has {images.num_classes} class ({', '.join(images.class_names)}), but a classifier "
            "needs at least 2: give images of a second class."
        )
    empty = [name for name, size in zip(images.class_names, images.class_sizes, strict=True) if size == 0]
    if empty:
        raise InputError(
            f"No training image has the class {empty[0]!r} ({len(empty)} of {images.num_classes} classes are "
            "empty): add images of it or remove the class."
        )


def _checked_range(images: Tensor) -> tuple[float, float]:
    """Check type, shape and values of the pixels, and return the ends of their range, in pixel scale."""
    if images.dim() != 4:
        raise InputError(
            f"Images have shape {tuple(images.shape)}, but 4 axes are needed, [N, C, H, W]: add the missing axis."
        )
    if images.dtype not in {torch.uint8, torch.float32}:
        raise InputError(
            f"Images are {images.dtype}, but must be uint8 (0 to 255) or float32 (0 to 1): convert them."
        )
    if images.numel() == 0:
        raise InputError("The image set is empty: it needs at least one image of one pixel.")
    if images.dtype == torch.uint8:
        return 0.0, 1.0
    low, high = map(float, images.aminmax())  # NaN if any pixel is
    if not isfinite(low) or not isfinite(high):
        bad = torch.nonzero(~images.isfinite().flatten(1).all(1)).flatten()
        raise InputError(
            f"{len(bad)} images hold NaN or infinite pixels (the first at position {int(bad[0])}), but pixels "
            "must be finite: remove or repair them."
        )
    return low, high


def _check_labels(labels: Tensor, num_images: int, num_classes: int) -> None:
    """Check that there is one label per image and that each names a class."""
    if labels.dtype != torch.int64 or labels.shape != (num_images,):
        raise InputError(
            f"Labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be int64 of shape "
            f"({num_images},), one for each image."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise InputError(
            f"Labels run from {low} to {high}, but {num_classes} classes need labels 0 to {num_classes - 1}: "
            "renumber the labels or name every class."
        )


def _check_normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int, ends: tuple[float, float]
) -> None:
    """Check that there is one usable mean and std per channel, and that networks see finite numbers by them."""
    if len(mean) != channels or len(std) != channels:
        raise InputError(
            f"Normalisation has {len(mean)} means and {len(std)} stds, but images have {channels} channels: "
            "give one of each per channel."
        )
    # Networks see float32, in which a std of 1e-300 is 0.
    with np.errstate(all="ignore"):
        means, stds = (np.array(given, dtype=np.float32) for given in (mean, std))
        seen = [(np.float32(end) - means) / stds for end in ends]
    if not np.isfinite([means, stds]).all() or not (stds > 0).all():
        raise InputError(
            f"Normalisation mean {mean}, std {std} must be finite in float32 with every std above 0."
        )
    if not np.isfinite(seen).all():
        raise InputError(
            f"With the normalisation mean {mean}, std {std} these pixels are beyond float32: give the normalisation of "
            "the data set, or scale the pixels."
        )
