"""`ImageSet`: pixels, labels, class names and pixel scale, whatever they came from: read, selected or condensed.

Axes, here and everywhere: K classes, S synthetic images per class, B real images per class, N images, R networks
trained together, C H W channels, height, width.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from datacondense.cuda_graphs import sent
from datacondense.decoder import check_factor, decode
from datacondense.disk_images import fingerprint, in_memory, pairs, taken
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.files import checked, reading
from datacondense.memory_limits import check_memory
from datacondense.renamed import current_names
from datacondense.set_checks import (
    check_labels,
    check_normalisation,
    check_soft_labels,
    checked_range,
)
from datacondense.set_metadata import ENTRIES, Metadata, Whitening
from datacondense.tensor_files import read_tensors, write_tensors

FORMAT = "datacondense.image_set"
_VERSIONS = ("1", "2", "3")  # 2: a factor or soft labels, 3: whitened; earlier releases would misread them
_FACTS = ("class_names", "mean", "std", "dataset", "may_be_mirrored", "augmentation")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageSet:
    """A labelled set of images with its pixel scale.

    A stored image may hold several images that networks see (multi-formation, see `decoder`): `decoded()` gives those.

    Attributes:
        images: Stored pixels `[N, C, H, W]`: uint8 in 0-255 for images that were read, or float32 in pixel scale
            (0 to 1, not clamped) for images that were learned. `DiskImages` are read as they are needed.
        labels: Class numbers `[N]`, int64, in 0..K-1.
        class_names: The K names, in the order of the labels.
        mean: Normalisation mean per channel, in pixel scale (0 to 1).
        std: Normalisation standard deviation per channel, in pixel scale.
        provenance: What is known of its origin (source, method, settings, seed, versions); plain JSON values.
        dataset: Name of the data set that it stands for, as in `load`; None where it has none.
        may_be_mirrored: Whether a mirrored image keeps its class.
        augmentation: The strategy with which published evaluation trains on the data set.
        factor: Tiles a side of each stored image, f: it is decoded to f² images.
        soft_labels: A distribution over the classes for each decoded image `[N·f², K]`, float32, to train on in the
            place of the class numbers; None where there are none.
        whitening: How the images were whitened, as test images must be too (see `whitened`); None where they are not.
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
    factor: int = 1
    soft_labels: Tensor | None = None
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        low, high = checked_range(self.images)
        check_factor(self.factor, self.image_shape)
        check_labels(self.labels, len(self.images), len(self.class_names))
        check_soft_labels(self.soft_labels, len(self.images) * self.factor**2, len(self.class_names))
        check_normalisation(self.mean, self.std, self.images.shape[1], (low, high))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        pixels = f"{'×'.join(map(str, self.image_shape))} {str(self.images.dtype).removeprefix('torch.')}"
        origin = [text for text in (self.dataset, self.provenance.get("method")) if text]
        counts = f"{len(self)} images of {self.num_classes} classes"
        if self.factor > 1:
            counts += f", {self.factor**2} decoded from each"
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

    @property
    def stored_numbers(self) -> int:
        """How many numbers the set stores: pixels, and soft labels where there are some."""
        return self.images.numel() + (0 if self.soft_labels is None else self.soft_labels.numel())

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
        """Sixteen hexadecimal digits that change with any pixel, label, class name, factor or whitening."""
        facts: tuple[Any, ...] = (self.image_shape, str(self.images.dtype), self.class_names)
        facts += (self.factor,) if self.factor > 1 else ()
        facts += astuple(self.whitening) if self.whitening else ()
        labels = [self.labels, *([] if self.soft_labels is None else [self.soft_labels])]
        return fingerprint(self.images, repr(facts).encode(), labels)

    def pixels(self, indices: Tensor | None = None) -> Tensor:
        """Return images in pixel scale.

        Args:
            indices: Positions `[M]`; all images where None.

        Returns:
            float32 `[M, C, H, W]`; 0 to 1, or beyond for learned images.
        """
        images = in_memory(self.images) if indices is None else self.images[indices]
        return images.float() / 255 if images.dtype == torch.uint8 else images

    def normalised(self, indices: Tensor | None = None) -> Tensor:
        """Return images as networks see them: `(pixels - mean) / std`.

        Args:
            indices: Positions `[M]`; all images where None.

        Returns:
            float32 `[M, C, H, W]`.
        """
        return self.normalise(self.pixels(indices))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return pixels of any images in the scale of networks that are trained on this set.

        Args:
            pixels: float32 `[..., C, H, W]` in pixel scale.

        Returns:
            `(pixels - mean) / std`, of the same shape.
        """
        mean, std = (
            sent(torch.tensor(v, dtype=torch.float32), pixels.device).view(-1, 1, 1)
            for v in (self.mean, self.std)
        )
        return (pixels - mean) / std

    @property
    def targets(self) -> Tensor:
        """What networks are trained to answer: soft labels `[N·f², K]` where there are some, else the class numbers.

        One for each decoded image where they are soft; class numbers `[N]` are those of the stored images.
        """
        return self.labels if self.soft_labels is None else self.soft_labels

    def decoded(self) -> Self:
        """Return the images that networks see, f² for each stored one, in its place.

        Returns:
            A set with factor 1 and float32 images in pixel scale; itself where the factor is 1.

        Raises:
            InputError: They would fill the memory.
        """
        if self.factor == 1:
            return self
        number = self.factor**2
        check_memory(
            4 * number * self.images.numel(), f"{number} images decoded from each", "take fewer images"
        )
        images = decode(self.pixels(), self.factor).flatten(0, 1)
        return replace(self, images=images, labels=self.labels.repeat_interleave(number), factor=1)

    def subset(self, indices: Tensor) -> Self:
        """Return some images, in the order given.

        Args:
            indices: Positions `[M]`.

        Returns:
            The smaller set; all else is the same.
        """
        soft = self.soft_labels
        if soft is not None:
            soft = soft.unflatten(0, (len(self), -1))[indices].flatten(0, 1)
        images = taken(self.images, indices)
        return replace(self, images=images, labels=self.labels[indices], soft_labels=soft)

    def first(self, ipc: int) -> Self:
        """Return the first images of each class: the smaller set of a selection that selects one image after the other.

        Random, herding and k-center selections are nested in this way.

        Args:
            ipc: Images per class; a class with fewer gives all of its own.

        Returns:
            The smaller set, class by class.
        """
        return self.subset(torch.cat([members[:ipc] for members in self.class_indices]))

    def to(self, device: torch.device | str) -> Self:
        """Move pixels and labels to a device.

        Args:
            device: Where to.

        Returns:
            The set there; itself where it is there already.
        """
        if self.images.device == torch.device(device):
            return self
        soft = None if self.soft_labels is None else self.soft_labels.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), soft_labels=soft)

    def torch_dataset(self, *, normalised: bool = True, decoded: bool = True) -> TensorDataset:
        """Return a map-style torch data set of (image, label) pairs, for any training code.

        Args:
            normalised: Whether images are normalised, as training needs them, or in pixel scale.
            decoded: Whether images are those that networks see, with soft labels where the set has some, or the stored
                ones with their class numbers; the same where the factor is 1 and labels are class numbers.

        Returns:
            The data set; images on disk are read as they are needed, all others are in memory.
        """
        shown = self.decoded() if decoded else self
        read = shown.normalised if normalised else shown.pixels
        return pairs(shown.images, read, shown.targets if decoded else self.labels)

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
        if os.path.isdir(path):
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
        if metadata.get("format_version") not in _VERSIONS:
            raise InputError(
                f"{path} has format version {metadata.get('format_version')}, but this release reads versions "
                f"{', '.join(_VERSIONS)}: install the release that wrote it."
            )
        remedy = "it is damaged; copy it again or create it anew"
        with reading(path, "an image set", remedy):
            found = {name: json.loads(text) for name, text in metadata.items() if name in ENTRIES}
            checked(found, Metadata)
            found["provenance"] = provenance = current_names(found.pop("record"))
            if "dataset" not in found:  # written by a release that told the name only
                found["dataset"] = provenance.get("source", {}).get("name")
                found |= facts_of(found["dataset"])._asdict()
            facts: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
            }
            facts |= {"whitening": Whitening(**found["whitening"])} if "whitening" in found else {}
            try:
                return cls(
                    images=tensors["images"],
                    labels=tensors["labels"],
                    soft_labels=tensors.get("soft_labels"),
                    **facts,
                )
            except InputError as error:
                raise InputError(f"{path} cannot be read as an image set ({error}): {remedy}.") from error


def file_content(images: ImageSet) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a set's file."""
    decoded = images.factor > 1 or images.soft_labels is not None
    metadata = {
        "format": FORMAT,
        "format_version": _VERSIONS[2 if images.whitening else int(decoded)],
        "record": json.dumps(images.provenance, sort_keys=True),
        **{name: json.dumps(getattr(images, name)) for name in _FACTS},
    }
    tensors = {"images": in_memory(images.images), "labels": images.labels}
    if images.soft_labels is not None:
        tensors["soft_labels"] = images.soft_labels
    if images.factor > 1:
        metadata["factor"] = json.dumps(images.factor)
    if images.whitening is not None:
        metadata["whitening"] = json.dumps(asdict(images.whitening))
    return tensors, metadata


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
