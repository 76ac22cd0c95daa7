"""Image sets in formats that other programs read: PNG files, parquet, Arrow, tar files, arrays, tensors.

Learned pixels are real numbers that may lie outside 0..1, and pictures hold whole numbers from 0 to 255. Beside the
rounded images every export holds the exact set, so that the cost of rounding can be measured.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datacondense.data.export_formats import CLASSES, FORMATS, IMAGES, NPZ, SHARD, TORCH
from datacondense.data.export_tables import PARQUET, PNG_CHANNELS, SAVED
from datacondense.errors import InputError
from datacondense.files import replacing_folder
from datacondense.image_set import ImageSet

ExportFormat = Literal["image-folder", "parquet", "npz", "hf", "webdataset", "torch"]

ORIGINAL = "original.safetensors"
_ARRAYS = {"npz", "torch"}  # hold any number of channels


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The files of an export, and how rounding to 8 bits changed the pixels.

    Attributes:
        num_images: Images written.
        below: Share of the values that were under 0, in 0..1.
        above: Share of the values that were over 1, in 0..1.
        lowest: Lowest value before rounding, in pixel scale (0 to 1).
        highest: Highest value before rounding, in pixel scale.
        mean_change: Mean absolute change by clamping and rounding, in pixel scale.
        max_change: Largest absolute change, in pixel scale.
        files: The files written, relative to the folder, sorted.
    """

    num_images: int
    below: float
    above: float
    lowest: float
    highest: float
    mean_change: float
    max_change: float
    files: tuple[str, ...]


def export(
    images: ImageSet,
    folder: Path,
    *,
    format: ExportFormat,  # noqa: A002
    stored: bool = False,
    force: bool = False,
) -> ExportReport:
    """Write a set for other programs; pixels of pictures are clamped to 0..1 and rounded to 8 bits.

    Images are the decoded ones, which networks are trained on, unless `stored` says otherwise.

    - "image-folder": `train/<class name>/<index>.png`, for `datasets.load_dataset("imagefolder", data_dir=folder,
      split="train")`. The index is the position in the set. Characters that file names cannot hold become "_". Readers
      of such folders take classes in the order of their names as text ("10" before "2"), and see no class without
      images; `classes.json` lists the folders in the order of the class numbers.
    - "parquet": one file for `datasets.load_dataset(str(folder))`, with every class name in its order.
    - "npz": `images.npz` with `images` uint8 `[N, H, W, C]`, `labels` int64 `[N]`, `class_names`, `mean` and `std`
      (in pixel scale); nothing in it is a pickle.
    - "hf": a folder for `datasets.load_from_disk(str(folder))`, with the columns of parquet and the exact "pixels",
      float32 `[C, H, W]` in pixel scale.
    - "webdataset": `train-000000.tar` with a PNG, the class number, the exact pixels (`.npy`, as in "hf") and the class
      name (`.json`) of each image; `classes.json` lists the names in the order of the class numbers.
    - "torch": `images.pt` for `torch.load(weights_only=True)`: `images` float32 `[N, C, H, W]`, exact, in pixel scale,
      `labels` int64 `[N]`, `class_names`, `mean` and `std`.

    The soft labels of decoded images are the column "soft_label" of parquet and "hf", `soft_label` in the `.json` of
    each image, and `soft_labels` `[N, K]` of npz and torch.

    Each is written with the exact set beside it, `original.safetensors`. The same set gives the same bytes under the
    same versions of the libraries.

    Args:
        images: The set.
        folder: The folder to write; it appears complete or not at all.
        format: "image-folder", "parquet", "npz", "hf", "webdataset" or "torch".
        stored: Write the stored images, several in one where the set has a factor.
        force: Replace an earlier export, and nothing else.

    Returns:
        The files, and how far pixels moved.

    Raises:
        InputError: The format is unknown or cannot hold these images or class names, or the folder is not empty or
            cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"Export format {format!r} is unknown: give one of {', '.join(FORMATS)}.")
    images = images if stored else images.decoded()
    _check_holds(format, images)
    written = images.pixels() if FORMATS[format].exact else rounded(images)
    folder = Path(folder)
    if force and folder.is_dir() and any(folder.iterdir()):
        _check_own(folder)
    with replacing_folder(folder, ours=force) as temporary:
        images.save(temporary / ORIGINAL)
        FORMATS[format].write(images, written.permute(0, 2, 3, 1).cpu().numpy(), temporary)
        files = (file for file in temporary.rglob("*") if file.is_file())
        names = tuple(sorted(file.relative_to(temporary).as_posix() for file in files))
    return _report(images.pixels(), written, names)


def rounded(images: ImageSet) -> Tensor:
    """Return the pixels of a set as pictures hold them: clamped, uint8 `[N, C, H, W]`."""
    return (images.pixels().clamp(0, 1) * 255).round().to(torch.uint8)


def _check_holds(form: ExportFormat, images: ImageSet) -> None:
    """Refuse images and class names that a format cannot hold."""
    if images.whitening is not None:
        raise InputError(
            "The set is whitened, so its numbers are no pixels: give --on DATASET to export the pixels, or in Python "
            "unwhitened(set, train)."
        )
    channels = images.image_shape[0]
    if form not in _ARRAYS and channels not in PNG_CHANNELS:
        raise InputError(
            f"Images have {channels} channels, but PNG holds 1, 3 or 4: export as npz or torch, which hold any number."
        )
    check_names(images)


def check_names(images: ImageSet) -> None:
    """Refuse class names that no file can hold."""
    broken = [name for name in images.class_names if name != name.encode(errors="ignore").decode()]
    if broken:
        raise InputError(
            f"The class name {broken[0]!r} holds letters that do not exist, so no file can: rename the class."
        )


def _check_own(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an export."""
    names = "|".join(map(re.escape, (ORIGINAL, PARQUET, NPZ, CLASSES, SHARD, TORCH, *SAVED)))
    own = re.compile(rf"{names}|{IMAGES}/[^/]+/\d+\.png")
    files = (entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if not entry.is_dir())
    other = next((name for name in sorted(files) if not own.fullmatch(name)), None)
    if other is not None or not is_export(folder):
        held = f"holds {other}, which no export wrote" if other else f"is no export (it has no {ORIGINAL})"
        raise InputError(f"{folder} {held}, and only exports are replaced: give a new folder.")
    ImageSet.load(folder / ORIGINAL)


def is_export(path: Path) -> bool:
    """Whether a folder is one that `export` wrote."""
    return os.path.isfile(Path(path) / ORIGINAL)


def load_export(folder: Path) -> tuple[ImageSet, ImageSet]:
    """Read an export back, to measure the cost of rounding.

    Args:
        folder: A folder that `export` wrote.

    Returns:
        The images, rounded where they are pictures, read from the files that other programs read, in the order and with
        the labels, class names, normalisation and provenance of the original; and the original.

    Raises:
        InputError: The folder is no export, or its files are missing, broken or no longer those that were written.
    """
    folder = Path(folder)
    if not is_export(folder):
        raise InputError(
            f"{folder} is not an export (it has no {ORIGINAL}): give a folder that export wrote."
        )
    original = ImageSet.load(folder / ORIGINAL)
    found = [form for form in FORMATS.values() if (folder / form.holds).exists()]
    if len(found) != 1:
        raise InputError(
            f"{folder} holds {len(found)} of {', '.join(form.holds for form in FORMATS.values())}, but an export has "
            "one of them: export the set again."
        )
    try:
        pixels, labels = found[0].read(folder, original)
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    except Exception as error:  # Decoders raise errors of many kinds on a broken file.
        raise InputError(
            f"{folder} cannot be read back ({type(error).__name__}: {error}): export the set again."
        ) from error
    if images.shape != original.images.shape or labels != original.labels.tolist():
        raise InputError(
            f"{folder} holds other images or labels than {ORIGINAL} beside them, so they cannot be compared: export "
            "the set again."
        )
    return replace(original, images=images), original


def _report(pixels: Tensor, written: Tensor, files: tuple[str, ...]) -> ExportReport:
    """Measure how far pixels moved."""
    scale = 255 if written.dtype == torch.uint8 else 1
    change = (written.double() / scale - pixels.double()).abs()
    return ExportReport(
        num_images=len(pixels),
        below=float((pixels < 0).double().mean()),
        above=float((pixels > 1).double().mean()),
        lowest=float(pixels.min()),
        highest=float(pixels.max()),
        mean_change=float(change.mean()),
        max_change=float(change.max()),
        files=files,
    )
