"""The store of decoded images in the user's cache folder, from which `DiskImages` are read.

Its folder, named by what the images are made of, holds

    000000.safetensors   the first images, uint8 [n, C, H, W]; 000001.safetensors the next, and so on
    store.json           what is known of these files; written last
    known/               fingerprints that were computed before

A file of images is complete once it has its name, so a build that was stopped goes on with those that are missing.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from itertools import chain, count, repeat, takewhile
from math import ceil
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypedDict

import PIL
import torch
import xxhash
from msgspec import Meta
from torch import Tensor

from datacondense.cache import cache_folder, private_folder
from datacondense.data.config import DataConfig
from datacondense.data.decode import First, check_depth, decode_images, first_of
from datacondense.disk_images import DiskImages, Shard, Stored
from datacondense.errors import InputError
from datacondense.files import read_json, reading, remove_leftovers, write_text
from datacondense.locking import locked
from datacondense.tensor_files import place_of, read_tensors, write_tensors

_VERSION = 1  # to be raised when decoding changes, so that former pixels are not taken for new ones
_MOST_ROWS, _MOST_BYTES = 4096, 2**26  # of a file of images
_AT_ONCE = 64  # images whose pixels are summed at once
_STORE, _IMAGES, _LABELS = "store.json", "images", "labels"
_SPARE = 2**26  # bytes of the disk that are left free

Report = Callable[[int, float], None]
"""Is told how many images are decoded, and how many in a second."""
Observer = Callable[[int | None], AbstractContextManager[Report]]
"""Watches while images are decoded, of which it is told how many there are where that is known."""
OBSERVER: ContextVar[Observer] = ContextVar(
    "OBSERVER", default=lambda total: nullcontext(lambda done, rate: None)
)


class Batch(NamedTuple):
    """Encoded images that are read together.

    Attributes:
        sources: What `decode_images` decodes.
        names: What they are called in messages.
        labels: Their labels, where these are known with the images alone.
    """

    sources: Sequence[Any] = ()
    names: Sequence[str] = ()
    labels: Sequence[Any] = ()


class Encoded(Protocol):
    """Encoded images in an order, which can be read some at a time."""

    @property
    def total(self) -> int | None:
        """How many there are; None where only reading them tells."""

    def described(self) -> Any:
        """Return what they are, as plain JSON values: other images are described otherwise."""

    def batches(self, size: int, start: int) -> Iterator[Callable[[], Batch]]:
        """Yield what reads images in any process, so many each, from the batch of a number on."""


class _File(TypedDict):
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
    files: Annotated[list[_File], Meta(min_length=1)]
    checksum: str


def read_images(encoded: Encoded, config: DataConfig) -> Tensor:
    """Return decoded images: in memory, or on disk where the settings say so."""
    resize, channels = config.resize, config.channels
    if config.cache:
        return stored_images(encoded, resize=resize, channels=channels)
    sources, names, _ = next(encoded.batches(sys.maxsize, 0), Batch)()
    return decode_images(sources, names, resize=resize, channels=channels)


def stored_images(encoded: Encoded, *, resize: int | None, channels: int | None) -> DiskImages:
    """Return images that lie decoded in the cache; they are decoded first where they do not.

    Args:
        encoded: The images.
        resize: As for `decode_images`, whose rules and messages hold.
        channels: Likewise.

    Returns:
        The images on disk.

    Raises:
        InputError: An image cannot be decoded or has another size, the disk is full, or the store is damaged.
    """
    form = {"pillow": PIL.__version__, "resize": resize, "channels": channels}
    with _folder([form, encoded.described()]) as folder:
        if not (folder / _STORE).exists():
            _build(encoded, folder, resize, channels)
        return _opened(folder)


def stored_tensor(images: Tensor) -> DiskImages:
    """Return images in memory, uint8 `[N, C, H, W]`, from the store; they are written there where they are new."""
    if images.dtype != torch.uint8:
        raise InputError(
            f"Pixels are {str(images.dtype).removeprefix('torch.')}, but the cache holds whole numbers in 0-255: leave "
            "--cache out, or save the images with 8 bits per channel."
        )
    content = [list(images.shape), xxhash.xxh3_128(images.contiguous().numpy().data).hexdigest()]
    height, width = images.shape[2:]
    rows = _rows(height, width)
    with _folder(content) as folder:
        if not (folder / _STORE).exists():
            _check_space(folder, images.numel())
            files = [_written(*each) for each in zip(_paths(folder), images.split(rows), strict=False)]
            _finish(folder, (height, width), rows, files)
        return _opened(folder)


def labels_of(images: DiskImages) -> list[Any]:
    """Return the labels that came with images."""
    places = [place_of(shard.path, _IMAGES) for shard in images.stored.shards]
    return [label for place in places for label in json.loads(place.metadata[_LABELS])]


@contextmanager
def _folder(content: Any) -> Iterator[Path]:
    """Yield the folder of images by what they are made of; no other process fills it meanwhile."""
    text = json.dumps([_VERSION, content], sort_keys=True)
    folder = private_folder(cache_folder() / "images") / hashlib.sha256(text.encode()).hexdigest()[:32]
    with locked(folder.with_suffix(".lock"), wait=True):
        yield folder


def _build(encoded: Encoded, folder: Path, resize: int | None, channels: int | None) -> None:
    """Decode the images that a folder lacks."""
    sample = next(encoded.batches(1, 0), None)
    if sample is None:
        raise InputError("The data set has no images: give at least one of each class.")
    (source, *_), (name, *_), _ = sample()
    first = first_of(source, name, resize=resize, channels=channels)
    height, width = first.shape[:2]
    rows, total = _rows(height, width), encoded.total
    if total is not None:
        _check_space(folder, total * height * width * (channels or (1 if len(first.shape) == 2 else 3)))
    present = sum(1 for _ in takewhile(Path.exists, _paths(folder)))
    batches = chain(repeat(None, present), encoded.batches(rows, present))
    decode = partial(_decoded, first=first, resize=resize, channels=channels)
    number = ceil((total or 10**9) / rows)
    files: list[_File] = []
    began = time.monotonic()
    with OBSERVER.get()(total) as report:
        for found in _in_processes(decode, zip(_paths(folder), batches, strict=False), number):
            if isinstance(found, InputError):
                raise found
            files.append(found)
            done = sum(file["count"] for file in files)
            report(done, max(0, done - present * rows) / (time.monotonic() - began))
    # Where every pixel is 0 or 1, and nowhere else, squares have the same sum.
    check_depth(1 if all(file["sums"] == file["squares"] for file in files) else 255, source)
    _finish(folder, (height, width), rows, files)


def _in_processes(
    decode: Callable[..., Any], calls: Iterable[tuple[Any, ...]], number: int
) -> Iterator[_File | InputError]:
    """Yield the results of calls in their order, from a process for each core where there is more than one call."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = min(cores, number)
    if jobs == 1:
        yield from (decode(*call) for call in calls)
        return
    from joblib import Parallel, delayed  # noqa: PLC0415 — a fifth of a second

    failed: list[Exception] = []

    def until_failure() -> Iterator[Any]:
        try:  # joblib reads ahead in a thread, where an error would be lost
            yield from (delayed(decode)(*call) for call in calls)
        except Exception as error:
            failed.append(error)

    yield from Parallel(jobs, return_as="generator")(until_failure())
    if failed:
        raise failed[0]


def _decoded(
    path: Path, read: Callable[[], Batch] | None, *, first: First, resize: int | None, channels: int | None
) -> _File | InputError:
    """Decode the images of a file, unless it is there; whatever is wrong with them is returned."""
    try:
        if path.exists() or read is None:
            return _described(path, read_tensors(path)[0][_IMAGES])
        sources, names, labels = read()
        images = decode_images(sources, names, resize=resize, channels=channels, first=first)
        return _written(path, images, {_LABELS: json.dumps(labels, default=str)} if labels else {})
    except InputError as error:
        return error


def _written(path: Path, images: Tensor, metadata: dict[str, str] | None = None) -> _File:
    """Write a file of images."""
    write_tensors(path, {_IMAGES: images}, metadata or {})
    return _described(path, images)


def _described(path: Path, images: Tensor) -> _File:
    """Return what is to be known of a file."""
    sums = squares = torch.zeros(images.shape[1], dtype=torch.float64)  # whole numbers below 2**53
    for part in images.split(_AT_ONCE):
        pixels = part.double()
        sums, squares = sums + pixels.sum((0, 2, 3)), squares + pixels.square().sum((0, 2, 3))
    status, place = path.stat(), place_of(path, _IMAGES)
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


def _finish(folder: Path, size: tuple[int, int], rows: int, files: list[_File]) -> None:
    """Write what is known of a store, which thereby is complete."""
    names = {path.name.split(".")[1] for path in folder.glob(".*")}
    remove_leftovers(folder, _STORE, *(f"{name}.safetensors" for name in names))
    found = {"size": size, "rows": rows, "files": files}
    write_text(folder / _STORE, json.dumps({**found, "checksum": _checksum(found)}))


def _opened(folder: Path) -> DiskImages:
    """Open a complete store; files that were touched since it was written are compared with their checksums."""
    path, remedy = folder / _STORE, f"remove the folder {folder}, and its images are decoded again"
    found: _Store = read_json(path, _Store, "a store of images", remedy)
    with reading(path, "a store of images", remedy):
        if found["checksum"] != _checksum({name: found[name] for name in ("size", "rows", "files")}):
            raise ValueError("it no longer has its checksum")
        touched = [_check_file(*each) for each in zip(_paths(folder), found["files"], strict=False)]
    if any(touched):
        _finish(folder, (found["size"][0], found["size"][1]), found["rows"], found["files"])
    files = found["files"]
    channels = max(file["channels"] for file in files)
    sums, squares = (
        tuple(sum(file[name][channel % file["channels"]] for file in files) for channel in range(channels))
        for name in ("sums", "squares")
    )
    shards = (
        Shard(path, file["offset"], file["channels"])
        for path, file in zip(_paths(folder), files, strict=False)
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


def _check_file(path: Path, file: _File) -> bool:
    """Check a file of images; whether it was touched since, but is the same."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    status = path.stat()
    if (status.st_size, status.st_mtime_ns) == (file["size"], file["modified"]):
        return False
    try:
        images = read_tensors(path)[0].get(_IMAGES)
        same = images is not None and _described(path, images)
    except (InputError, KeyError):
        same = False
    if not same or same != file | {"modified": status.st_mtime_ns}:
        raise ValueError(f"{path.name} is damaged")
    file["modified"] = status.st_mtime_ns
    return True


def _check_space(folder: Path, size: int) -> None:
    """Check that the disk has room for images of so many bytes."""
    present = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    free = shutil.disk_usage(folder.parent).free
    if size - present > free - _SPARE:
        raise InputError(
            f"The decoded images take {size / 1e9:,.1f} GB, but the disk of {folder.parent} has {free / 1e9:,.1f} GB "
            "left: free some space, name another cache with XDG_CACHE_HOME, or make the images smaller with --resize."
        )


def _paths(folder: Path) -> Iterator[Path]:
    """Yield the names of the files of images."""
    return (folder / f"{number:06d}.safetensors" for number in count())


def _rows(height: int, width: int) -> int:
    """Return the number of images of one file."""
    return max(1, min(_MOST_ROWS, _MOST_BYTES // (3 * height * width)))


def _checksum(content: Any) -> str:
    return xxhash.xxh3_128(json.dumps(content, sort_keys=True).encode()).hexdigest()
