"""The store of decoded images in the user's cache folder, from which `DiskImages` are read.

Its folder is named by what the images are made of; see `stored_files` for what it holds. A file of images is complete
once it has its name, so a build that was stopped goes on with those that are missing.
"""

import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from itertools import chain, repeat, takewhile
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import PIL
import torch
import xxhash
from torch import Tensor

from datacondense.allocator import keep_freed_memory
from datacondense.cache import cache_folder, private_folder
from datacondense.data.config import DataConfig
from datacondense.data.decode import First, check_depth, decode_images, first_of
from datacondense.data.stored_files import (
    IMAGES,
    STORE,
    ImageFile,
    described_file,
    file_paths,
    finish,
    opened,
)
from datacondense.disk_images import DiskImages
from datacondense.errors import InputError
from datacondense.files import free_space, writing
from datacondense.locking import locked
from datacondense.tensor_files import place_of, read_tensors, write_tensors

_VERSION = 1  # to be raised when decoding changes, so that former pixels are not taken for new ones
_MOST_ROWS, _MOST_BYTES = 4096, 2**25  # of a file of images; a process that decodes has some copies
_LABELS = "labels"
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
        if not (folder / STORE).exists():
            _build(encoded, folder, resize, channels)
        return opened(folder)


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
        if not (folder / STORE).exists():
            _check_space(folder, images.numel())
            files = [_written(*each) for each in zip(file_paths(folder), images.split(rows), strict=False)]
            finish(folder, (height, width), rows, files)
        return opened(folder)


def labels_of(images: DiskImages) -> list[Any]:
    """Return the labels that came with images."""
    places = [place_of(shard.path, IMAGES) for shard in images.stored.shards]
    return [label for place in places for label in json.loads(place.metadata[_LABELS])]


@contextmanager
def _folder(content: Any) -> Iterator[Path]:
    """Yield the folder of images by what they are made of; no other process fills it meanwhile."""
    text = json.dumps([_VERSION, content], sort_keys=True)
    images = cache_folder() / "images"
    with writing(images):
        folder = private_folder(images) / hashlib.sha256(text.encode()).hexdigest()[:32]
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
    present = sum(1 for _ in takewhile(Path.exists, file_paths(folder)))
    batches = chain(repeat(None, present), encoded.batches(rows, present))
    decode = partial(_decoded, first=first, resize=resize, channels=channels)
    number = ceil((total or 10**9) / rows)
    files: list[ImageFile] = []
    began = time.monotonic()
    with OBSERVER.get()(total) as report:
        for found in _in_processes(decode, zip(file_paths(folder), batches, strict=False), number):
            files.append(found)
            done = sum(file["count"] for file in files)
            report(done, max(0, done - present * rows) / max(time.monotonic() - began, 1e-9))
    # Where every pixel is 0 or 1, and nowhere else, squares have the same sum.
    check_depth(1 if all(file["sums"] == file["squares"] for file in files) else 255, source)
    finish(folder, (height, width), rows, files)


def _in_processes(
    decode: Callable[..., Any], calls: Iterable[tuple[Any, ...]], number: int
) -> Iterator[ImageFile]:
    """Yield the results of calls in their order, from a process for each core where there is more than one call."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = min(cores, number)
    if jobs == 1:
        yield from (decode(*call) for call in calls)
        return
    from joblib.externals.loky import ProcessPoolExecutor  # noqa: PLC0415 — a fifth of a second

    # Of its own: a study's processes go on with theirs. A quarter faster: every file takes as much as the one before.
    pool = ProcessPoolExecutor(jobs, initializer=keep_freed_memory)
    try:
        waiting: deque[Future[ImageFile]] = deque()
        for call in calls:
            waiting.append(pool.submit(decode, *call))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException:
        pool.shutdown(kill_workers=True)
        raise
    pool.shutdown()


def _decoded(
    path: Path, read: Callable[[], Batch] | None, *, first: First, resize: int | None, channels: int | None
) -> ImageFile:
    """Decode the images of a file, unless it is there."""
    if path.exists() or read is None:
        return described_file(path, read_tensors(path)[0][IMAGES])
    sources, names, labels = read()
    images = decode_images(sources, names, resize=resize, channels=channels, first=first)
    return _written(path, images, {_LABELS: json.dumps(labels, default=str)} if labels else {})


def _written(path: Path, images: Tensor, metadata: dict[str, str] | None = None) -> ImageFile:
    """Write a file of images."""
    write_tensors(path, {IMAGES: images}, metadata or {})
    return described_file(path, images)


def _check_space(folder: Path, size: int) -> None:
    """Check that the disk has room for images of so many bytes."""
    present = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    free = free_space(folder)
    if size - present > free - _SPARE:
        raise InputError(
            f"The decoded images take {size / 1e9:,.1f} GB, but the disk of {folder.parent} has {free / 1e9:,.1f} GB "
            "left: free some space, name another cache with XDG_CACHE_HOME, or make the images smaller with --resize."
        )


def _rows(height: int, width: int) -> int:
    """Return the number of images of one file."""
    return max(1, min(_MOST_ROWS, _MOST_BYTES // (3 * height * width)))
