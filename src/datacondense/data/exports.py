"""Image sets in formats that other programs read: a folder of PNG files, parquet, npz.

Learned pixels are real numbers that may lie outside 0..1; these formats hold whole numbers from 0 to 255. Beside the
rounded images every export holds the exact set, so that the cost of rounding can be measured.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import replacing_folder
from datacondense.image_set import ImageSet

ExportFormat = Literal["image-folder", "parquet", "npz"]

Pixels = NDArray[np.uint8]  # [N, H, W, C]

ORIGINAL = "original.safetensors"
_IMAGES = "train"
_CLASSES = "classes.json"
_PARQUET = "train-00000-of-00001.parquet"
_NPZ = "images.npz"
_PNG_CHANNELS = {1, 3, 4}
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_LONGEST_NAME = 200  # bytes; file systems take 255


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
    """Write a set for other programs, with pixels clamped to 0..1 and rounded to 8 bits.

    Images are the decoded ones, which networks are trained on, unless `stored` says otherwise.

    - "image-folder": `train/<class name>/<index>.png`, for `datasets.load_dataset("imagefolder", data_dir=folder,
      split="train")`. The index is the position in the set. Characters that file names cannot hold become "_". Readers
      of such folders take classes in the order of their names as text ("10" before "2"), and see no class without
      images; `classes.json` lists the folders in the order of the class numbers.
    - "parquet": one file for `datasets.load_dataset(str(folder))`, with every class name in its order.
    - "npz": `images.npz` with `images` uint8 `[N, H, W, C]`, `labels` int64 `[N]`, `class_names`, `mean` and `std`
      (in pixel scale); nothing in it is a pickle.

    The soft labels of decoded images are the column "soft_label" of parquet, and `soft_labels` `[N, K]` of npz.

    Each is written with the exact set beside it, `original.safetensors`. The same set gives the same bytes under the
    same versions of the libraries.

    Args:
        images: The set.
        folder: The folder to write; it appears complete or not at all.
        format: "image-folder", "parquet" or "npz".
        stored: Write the stored images, several in one where the set has a factor.
        force: Replace an earlier export, and nothing else.

    Returns:
        The files, and how far pixels moved.

    Raises:
        InputError: The format is unknown or cannot hold these images or class names, or the folder is not empty or
            cannot be written.
    """
    if format not in _FORMATS:
        raise InputError(f"Export format {format!r} is unknown: give one of {', '.join(_FORMATS)}.")
    images = images if stored else images.decoded()
    _check_holds(format, images)
    rounded = (images.pixels().clamp(0, 1) * 255).round().to(torch.uint8)
    folder = Path(folder)
    if force and folder.is_dir() and any(folder.iterdir()):
        _check_own(folder)
    with replacing_folder(folder, ours=force) as temporary:
        images.save(temporary / ORIGINAL)
        _FORMATS[format].write(images, rounded.permute(0, 2, 3, 1).cpu().numpy(), temporary)
        files = (file for file in temporary.rglob("*") if file.is_file())
        names = tuple(sorted(file.relative_to(temporary).as_posix() for file in files))
    return _report(images.pixels(), rounded, names)


def _check_holds(form: ExportFormat, images: ImageSet) -> None:
    """Refuse images and class names that a format cannot hold."""
    if images.whitening is not None:
        raise InputError(
            "The set is whitened, so its numbers are no pixels: give --on DATASET to export the pixels, or in Python "
            "unwhitened(set, train)."
        )
    channels = images.image_shape[0]
    if form != "npz" and channels not in _PNG_CHANNELS:
        raise InputError(
            f"Images have {channels} channels, but PNG holds 1, 3 or 4: export as npz, which holds any number."
        )
    broken = [name for name in images.class_names if name != name.encode(errors="ignore").decode()]
    if broken:
        raise InputError(
            f"The class name {broken[0]!r} holds letters that do not exist, so no file can: rename the class."
        )


def _check_own(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an export."""
    names = "|".join(map(re.escape, (ORIGINAL, _PARQUET, _NPZ, _CLASSES)))
    own = re.compile(rf"{names}|{_IMAGES}/[^/]+/\d+\.png")
    files = (entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if not entry.is_dir())
    other = next((name for name in sorted(files) if not own.fullmatch(name)), None)
    if other is not None or not is_export(folder):
        held = f"holds {other}, which no export wrote" if other else f"is no export (it has no {ORIGINAL})"
        raise InputError(f"{folder} {held}, and only exports are replaced: give a new folder.")
    ImageSet.load(folder / ORIGINAL)


def is_export(path: Path) -> bool:
    """Whether a folder is one that `export` wrote."""
    return (Path(path) / ORIGINAL).is_file()


def load_export(folder: Path) -> tuple[ImageSet, ImageSet]:
    """Read an export back, to measure the cost of rounding.

    Args:
        folder: A folder that `export` wrote.

    Returns:
        The rounded images, read from the files that other programs read, in the order and with the labels, class names,
        normalisation and provenance of the original; and the original.

    Raises:
        InputError: The folder is no export, or its files are missing, broken or no longer those that were written.
    """
    folder = Path(folder)
    if not is_export(folder):
        raise InputError(
            f"{folder} is not an export (it has no {ORIGINAL}): give a folder that export wrote."
        )
    original = ImageSet.load(folder / ORIGINAL)
    found = [form for form in _FORMATS.values() if (folder / form.holds).exists()]
    if len(found) != 1:
        raise InputError(
            f"{folder} holds {len(found)} of {', '.join(form.holds for form in _FORMATS.values())}, but an export has "
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


def _report(pixels: Tensor, rounded: Tensor, files: tuple[str, ...]) -> ExportReport:
    """Measure how far pixels moved."""
    change = (rounded.double() / 255 - pixels.double()).abs()
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


def _write_folder(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write one PNG file per image into the folder of its class, and the order of the classes."""
    order = json.dumps(_class_folders(images), indent=1)
    (folder / _CLASSES).write_text(f"{order}\n", encoding="utf-8")
    for path, array in zip(_image_paths(images), pixels, strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(_png(array))


def _read_folder(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read the PNG file of every image, and its label by the order of the classes; earlier exports do not say that."""
    folders = _class_folders(original)
    order = folder / _CLASSES
    names = json.loads(order.read_text(encoding="utf-8")) if order.exists() else folders
    pixels = np.stack([_decoded(folder / path) for path in _image_paths(original)])
    return pixels, [names.index(folders[label]) for label in original.labels.tolist()]


def _write_parquet(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write PNG images and labels in the columns that `datasets` reads as images and named classes."""
    import datasets  # noqa: PLC0415
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    repeated = [name for name, count in Counter(images.class_names).items() if count > 1]
    if repeated:
        raise InputError(
            f"Several classes are called {repeated[0]!r}, but parquet needs every class name once: rename them, or "
            "export as npz."
        )
    label = datasets.ClassLabel(names=list(images.class_names))
    features = datasets.Features({"image": datasets.Image(), "label": label})
    encoded = [{"bytes": _png(array), "path": _png_name(n, len(pixels))} for n, array in enumerate(pixels)]
    columns = {"image": encoded, "label": images.labels.tolist()}
    if (soft := _soft_labels(images)) is not None:
        features["soft_label"] = datasets.Sequence(datasets.Value("float32"))
        columns["soft_label"] = soft.tolist()
    # Written by pyarrow, under the schema of `datasets`, whose own writer shows progress bars and keeps a cache.
    pq.write_table(pa.Table.from_pydict(columns, schema=features.arrow_schema), folder / _PARQUET)


def _read_parquet(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the parquet file."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    columns = pq.ParquetFile(folder / _PARQUET).read().to_pydict()
    return np.stack([_decoded(io.BytesIO(image["bytes"])) for image in columns["image"]]), columns["label"]


def _write_npz(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write arrays in one compressed file."""
    arrays: dict[str, Any] = {
        "images": pixels,
        "labels": images.labels.cpu().numpy(),
        "class_names": np.array(images.class_names),
        "mean": np.array(images.mean),
        "std": np.array(images.std),
    }
    if (soft := _soft_labels(images)) is not None:
        arrays["soft_labels"] = soft.cpu().numpy()
    np.savez_compressed(folder / _NPZ, **arrays)


def _read_npz(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the arrays."""
    with (folder / _NPZ).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"].tolist()


def _soft_labels(images: ImageSet) -> Tensor | None:
    """Return a distribution for each image that is written; a stored image that holds several has none of its own."""
    return images.soft_labels if images.factor == 1 else None


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One format: what it writes and how it is read back."""

    holds: str
    write: Callable[[ImageSet, Pixels, Path], None]
    read: Callable[[Path, ImageSet], tuple[Pixels, list[int]]]


_FORMATS: Mapping[str, _Form] = {
    "image-folder": _Form(holds=_IMAGES, write=_write_folder, read=_read_folder),
    "parquet": _Form(holds=_PARQUET, write=_write_parquet, read=_read_parquet),
    "npz": _Form(holds=_NPZ, write=_write_npz, read=_read_npz),
}


def _image_paths(images: ImageSet) -> list[Path]:
    """Return the file of every image, relative to the export."""
    folders = _class_folders(images)
    return [
        Path(_IMAGES, folders[label], _png_name(index, len(images)))
        for index, label in enumerate(images.labels.tolist())
    ]


def _class_folders(images: ImageSet) -> list[str]:
    """Return the name of each class's folder; refuse two classes that would share one."""
    folders = list(map(_safe_name, images.class_names))
    for folder, count in Counter(folders).items():
        if count > 1:
            clash = [name for name, safe in zip(images.class_names, folders, strict=True) if safe == folder]
            raise InputError(
                f"Classes {clash[0]!r} and {clash[1]!r} would share the folder {folder!r}: rename one, or export as "
                "parquet or npz."
            )
    return folders


def _safe_name(name: str) -> str:
    """Replace characters that file systems refuse, and starts that readers take for hidden folders."""
    safe = _UNSAFE.sub("_", name).encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .")
    return re.sub(r"^_+", "_", safe) or "_"


def _png_name(index: int, count: int) -> str:
    """Return an image's name by its position; names sort in order."""
    return f"{index:0{max(5, len(str(count - 1)))}d}.png"


def _png(array: Pixels) -> bytes:
    """Encode one image `[H, W, C]`."""
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(
        buffer, format="PNG", optimize=True
    )
    return buffer.getvalue()


def _decoded(source: Path | io.BytesIO) -> Pixels:
    """Decode one image to `[H, W, C]`."""
    with Image.open(source) as image:
        array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
