"""The files of a store of decoded images, and what is known of them; see `image_store`.

000000.safetensors   the first images, uint8 [n, C, H, W]; 000001.safetensors the next, and so on
store.json           what is known of these files; written last
known/               fingerprints that were computed before
"""

import json
from collections.abc import Iterator
from itertools import count
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypedDict

import torch
import xxhash
from msgspec import Meta
from torch import Tensor

from datacondense.disk_images import DiskImages, Shard, Stored
from datacondense.errors import InputError
from datacondense.files import read_json, reading, remove_leftovers, write_text
from datacondense.tensor_files import place_of, read_tensors

STORE, IMAGES = "store.json", "images"
_AT_ONCE = 64  # images whose pixels are summed at once


class ImageFile(TypedDict):
    """What is known of a file of images."""

    count: Annotated[int, Meta(ge=1)]
    channels: Annotated[int, Meta(ge=1, le=3)]
    offset: Annotated[int, Meta(ge=8)]
    size: int
    modified: int
    checksum: str
    sums: list[int]
    squares: list[int]


class _Store(TypedDict):
    """What is known of a store; the checksum is of all else."""

    size: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=2, max_length=2)]
    rows: Annotated[int, Meta(ge=1)]
    files: Annotated[list[ImageFile], Meta(min_length=1)]
    checksum: str


def described_file(path: Path, images: Tensor) -> ImageFile:
    """Return what is to be known of a file."""
    sums = squares = torch.zeros(images.shape[1], dtype=torch.float64)  # whole numbers below 2**53
    for part in images.split(_AT_ONCE):
        pixels = part.double()
        sums, squares = sums + pixels.sum((0, 2, 3)), squares + pixels.square().sum((0, 2, 3))
    status, place = path.stat(), place_of(path, IMAGES)
    return {
        "count": len(images),
        "channels": images.shape[1],
        "offset": place.offset,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "checksum": place.checksum,
        "sums": sums.long().tolist(),
        "squares": squares.long().tolist(),
    }


def finish(folder: Path, size: tuple[int, int], rows: int, files: list[ImageFile]) -> None:
    """Write what is known of a store, which thereby is complete."""
    names = {path.name.split(".")[1] for path in folder.glob(".*")}
    remove_leftovers(folder, STORE, *(f"{name}.safetensors" for name in names))
    found = {"size": size, "rows": rows, "files": files}
    write_text(folder / STORE, json.dumps({**found, "checksum": checksum(found)}))


def opened(folder: Path) -> DiskImages:
    """Open a complete store; files that were touched since it was written are compared with their checksums."""
    path, remedy = folder / STORE, f"remove the folder {folder}, and its images are decoded again"
    found: _Store = read_json(path, _Store, "a store of images", remedy)
    with reading(path, "a store of images", remedy):
        if found["checksum"] != checksum({name: found[name] for name in ("size", "rows", "files")}):
            raise ValueError("it no longer has its checksum")
        _check_sizes(found)
        touched = [_check_file(*each) for each in zip(file_paths(folder), found["files"], strict=False)]
    if any(touched):
        finish(folder, (found["size"][0], found["size"][1]), found["rows"], found["files"])
    files = found["files"]
    channels = max(file["channels"] for file in files)
    sums, squares = (
        tuple(sum(file[name][channel % file["channels"]] for file in files) for channel in range(channels))
        for name in ("sums", "squares")
    )
    shards = (
        Shard(path, file["offset"], file["channels"])
        for path, file in zip(file_paths(folder), files, strict=False)
    )
    height, width = found["size"]
    shape = (sum(file["count"] for file in files), channels, height, width)
    return DiskImages(
        Stored(
            shards=tuple(shards),
            rows=found["rows"],
            shape=shape,
            sums=(sums, squares),
            known=folder / "known",
        )
    )


def _check_sizes(found: _Store) -> None:
    """Check that the sizes of files are those of the images that they are said to hold."""
    *full, last = found["files"]
    if any(file["count"] != found["rows"] for file in full) or last["count"] > found["rows"]:
        raise ValueError("its files hold other numbers of images")
    for file in found["files"]:
        channels = file["channels"]
        held = file["count"] * channels * prod(found["size"])
        if (
            file["offset"] + held != file["size"]
            or not len(file["sums"]) == len(file["squares"]) == channels != 2
        ):
            raise ValueError("its files have other sizes")


def _check_file(path: Path, file: ImageFile) -> bool:
    """Check a file of images; whether it was touched since, but is the same."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    status = path.stat()
    if (status.st_size, status.st_mtime_ns) == (file["size"], file["modified"]):
        return False
    try:
        images = read_tensors(path)[0].get(IMAGES)
        same = images is not None and described_file(path, images)
    except (InputError, KeyError):
        same = False
    if not same or same != file | {"modified": status.st_mtime_ns}:
        raise ValueError(f"{path.name} is damaged")
    file["modified"] = status.st_mtime_ns
    return True


def file_paths(folder: Path) -> Iterator[Path]:
    """Yield the names of the files of images."""
    return (folder / f"{number:06d}.safetensors" for number in count())


def checksum(content: Any) -> str:
    """Return the checksum of plain JSON values."""
    return xxhash.xxh3_128(json.dumps(content, sort_keys=True).encode()).hexdigest()
