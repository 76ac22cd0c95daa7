"""The formats of exports: what each writes and how it is read back."""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datacondense.data.export_tables import (
    ARROW,
    PARQUET,
    Pixels,
    decoded,
    encoded,
    png_name,
    read_parquet,
    read_saved_pictures,
    soft_labels_of,
    write_parquet,
    write_saved,
)
from datacondense.errors import InputError
from datacondense.image_set import ImageSet

IMAGES = "train"
CLASSES = "classes.json"
NPZ = "images.npz"
TORCH = "images.pt"
SHARD = "train-000000.tar"
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_LONGEST_NAME = 200  # bytes; file systems take 255


@dataclass(frozen=True, kw_only=True)
class Form:
    """One format.

    Attributes:
        holds: The file or folder that tells it from others.
        write: Writes a set, its pixels `[N, H, W, C]` as uint8, or float32 where exact, into a folder.
        read: Reads pixels and labels back, given the original.
        exact: Whether it holds exact pixels only, so that nothing is rounded.
    """

    holds: str
    write: Callable[[ImageSet, Pixels, Path], None]
    read: Callable[[Path, ImageSet], tuple[Pixels, list[int]]]
    exact: bool = False


def _write_folder(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write one PNG file per image into the folder of its class, and the order of the classes."""
    order = json.dumps(_class_folders(images), indent=1)
    (folder / CLASSES).write_text(f"{order}\n", encoding="utf-8")
    for path, array in zip(_image_paths(images), pixels, strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(encoded(array))


def _read_folder(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read the PNG file of every image, and its label by the order of the classes; earlier exports do not say that."""
    folders = _class_folders(original)
    order = folder / CLASSES
    names = json.loads(order.read_text(encoding="utf-8")) if order.exists() else folders
    pixels = np.stack([decoded(folder / path) for path in _image_paths(original)])
    return pixels, [names.index(folders[label]) for label in original.labels.tolist()]


def _write_npz(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write arrays in one compressed file."""
    arrays: dict[str, Any] = {
        "images": pixels,
        "labels": images.labels.cpu().numpy(),
        "class_names": np.array(images.class_names),
        "mean": np.array(images.mean),
        "std": np.array(images.std),
    }
    if (soft := soft_labels_of(images)) is not None:
        arrays["soft_labels"] = soft.cpu().numpy()
    np.savez_compressed(folder / NPZ, **arrays)


def _read_npz(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the arrays."""
    with (folder / NPZ).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"].tolist()


def _write_torch(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write tensors in a file that `torch.load(weights_only=True)` reads: no class of this library is in it."""
    content: dict[str, Any] = {
        "images": images.pixels().cpu().contiguous(),
        "labels": images.labels.cpu(),
        "class_names": list(images.class_names),
        "mean": torch.tensor(images.mean),
        "std": torch.tensor(images.std),
    }
    if (soft := soft_labels_of(images)) is not None:
        content["soft_labels"] = soft.cpu()
    file = io.BytesIO()  # A full disk would be no error of the system in torch.
    torch.save(content, file)
    (folder / TORCH).write_bytes(file.getvalue())


def _read_torch(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the tensors."""
    content = torch.load(folder / TORCH, weights_only=True)
    return content["images"].permute(0, 2, 3, 1).numpy(), content["labels"].tolist()


def _write_webdataset(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write a tar file of samples: a PNG image, its class, the exact pixels `[C, H, W]`, and what else is known."""
    order = json.dumps(list(images.class_names), indent=1)
    (folder / CLASSES).write_text(f"{order}\n", encoding="utf-8")
    soft, exact = soft_labels_of(images), images.pixels().cpu().numpy()
    with tarfile.open(folder / SHARD, "w", format=tarfile.USTAR_FORMAT) as shard:
        for index, label in enumerate(images.labels.tolist()):
            array = io.BytesIO()
            np.save(array, exact[index])
            facts = {"class_name": images.class_names[label]}
            facts |= {} if soft is None else {"soft_label": soft[index].tolist()}
            sample = {
                "png": encoded(pixels[index]),
                "cls": str(label).encode(),
                "npy": array.getvalue(),
                "json": json.dumps(facts).encode(),
            }
            for kind, content in sample.items():
                member = tarfile.TarInfo(f"{_key(index)}.{kind}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


def _read_webdataset(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read the images of a tar file and their classes."""
    with tarfile.open(folder / SHARD, "r:") as shard:

        def member(index: int, kind: str) -> bytes:
            file = shard.extractfile(f"{_key(index)}.{kind}")
            return b"" if file is None else file.read()

        pictures = [decoded(io.BytesIO(member(index, "png"))) for index in range(len(original))]
        return np.stack(pictures), [int(member(index, "cls")) for index in range(len(original))]


def _key(index: int) -> str:
    """Return the name of a sample by its position."""
    return f"{index:06d}"


def _image_paths(images: ImageSet) -> list[Path]:
    """Return the file of every image, relative to the export."""
    folders = _class_folders(images)
    return [
        Path(IMAGES, folders[label], png_name(index, len(images)))
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


FORMATS: Mapping[str, Form] = {
    "image-folder": Form(holds=IMAGES, write=_write_folder, read=_read_folder),
    "parquet": Form(holds=PARQUET, write=write_parquet, read=read_parquet),
    "npz": Form(holds=NPZ, write=_write_npz, read=_read_npz),
    "hf": Form(holds=ARROW, write=write_saved, read=read_saved_pictures),
    "webdataset": Form(holds=SHARD, write=_write_webdataset, read=_read_webdataset),
    "torch": Form(holds=TORCH, write=_write_torch, read=_read_torch, exact=True),
}
