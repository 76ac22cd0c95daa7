"""Pixels that stay on disk: files of some thousand images each, of which only what is needed is read.

No file is mapped into memory: its pages would count as memory of the process for as long as it is mapped.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import TensorDataset

from datacondense.cuda_graphs import sent
from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.memory_limits import check_memory

_CHUNK = 2**25  # bytes that are read at a time where all images are
_FINGERPRINT = re.compile("[0-9a-f]{16}")

Pixels = NDArray[np.uint8]
Sums = tuple[tuple[int, ...], tuple[int, ...]]
"""For each channel the sum of all pixels, and that of their squares."""


class Shard(NamedTuple):
    """A file with consecutive images, uint8 `[n, channels, H, W]`.

    Attributes:
        path: The file.
        offset: Bytes before the first pixel.
        channels: Those in the file: 1 in a set of colour images too, where all of the file are grey.
    """

    path: Path
    offset: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Images in files.

    Attributes:
        shards: The files, in order.
        rows: Images of each file but the last.
        shape: N, C, H and W.
        sums: Those of all pixels.
        known: Folder that keeps the fingerprints of these images and of parts of them.
    """

    shards: tuple[Shard, ...]
    rows: int
    shape: tuple[int, int, int, int]
    sums: Sums
    known: Path

    def read(self, positions: NDArray[np.int64], channels: int) -> Pixels:
        """Read images at positions, in the order given; grey ones have as many equal channels as are wanted."""
        found = np.empty((len(positions), channels, *self.shape[2:]), dtype=np.uint8)
        order = np.argsort(positions, kind="stable")
        numbers = positions[order] // self.rows
        for places in np.split(order, np.flatnonzero(np.diff(numbers)) + 1) if len(order) else ():
            number = int(positions[places[0]]) // self.rows
            found[places] = self._read(self.shards[number], positions[places] - number * self.rows)
        return found

    def _read(self, shard: Shard, rows: NDArray[np.int64]) -> Pixels:
        """Read rows of a file, which are sorted."""
        read = np.empty((len(rows), shard.channels, *self.shape[2:]), dtype=np.uint8)
        size = prod(read.shape[1:])
        together = bool((np.diff(rows) == 1).all())
        parts: Sequence[tuple[int, Pixels]] = [(int(rows[0]), read)]
        if not together:
            parts = list(zip(rows.tolist(), read, strict=True))
        try:
            with shard.path.open("rb", buffering=0) as file:
                for row, target in parts:
                    _fill(file, shard.offset + row * size, target)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{shard.path} cannot be read any more ({reason}): start again, and what the cache lacks is decoded "
                "anew."
            ) from error
        return read


class DiskImages(Tensor):
    """Images on disk as a tensor, uint8 `[N, C, H, W]`: what is indexed is read, and arrives on its device.

    Operations on all of them read all into memory, and raise `InputError` where that would be too much.

    Attributes:
        stored: The images.
        positions: Which of them these are `[N]`, on the CPU; all in order where None.
    """

    stored: Stored
    positions: Tensor | None

    @staticmethod
    def __new__(
        cls: "type[DiskImages]",
        stored: Stored,
        positions: Tensor | None = None,
        channels: int | None = None,
        device: torch.device | str = "cpu",
    ) -> "DiskImages":
        """Make a tensor without memory of its own."""
        count, own_channels, *size = stored.shape
        shape = (count if positions is None else len(positions), channels or own_channels, *size)
        made: DiskImages = Tensor._make_wrapper_subclass(
            cls, shape, dtype=torch.uint8, device=torch.device(device)
        )
        made.stored, made.positions = stored, positions
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what needs pixels with all of them in memory."""
        args, kwargs = tree_map(in_memory, (args, kwargs or {}))
        return function(*args, **kwargs)

    def __getitem__(self, wanted: Any) -> Tensor:
        """Read images at some places, `[M]` or a slice, in the order given."""
        if isinstance(wanted, int):
            return self[wanted : wanted + 1 or None][0]
        if not isinstance(wanted, slice) and not (isinstance(wanted, Tensor) and wanted.dim() == 1):
            return self.loaded()[wanted]
        found = self.stored.read(self._positions(wanted).numpy(), self.shape[1])
        return sent(torch.from_numpy(found), self.device)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"DiskImages({'×'.join(map(str, self.shape))} in {self.stored.known.parent})"

    def __deepcopy__(self, memo: Any) -> Self:
        """Return the same images, which never change."""
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Return how pickle makes the same images in another process."""
        return DiskImages, (self.stored, self.positions, self.shape[1], self.device)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the same images, which arrive on another device when they are read."""
        if len(args) == 1 and isinstance(args[0], (torch.device, str)) and not kwargs:
            return DiskImages(self.stored, self.positions, self.shape[1], args[0])
        return self.loaded().to(*args, **kwargs)

    def numpy(self, *, force: bool = False) -> NDArray[Any]:
        """Return all images as an array."""
        return self.loaded().numpy(force=force)

    def subset(self, wanted: Tensor) -> "DiskImages":
        """Return the images at some places, in that order, without reading them."""
        return DiskImages(self.stored, self._positions(wanted), self.shape[1], self.device)

    def in_colour(self) -> "DiskImages":
        """Return the same images with 3 channels; grey ones have one three times."""
        return DiskImages(self.stored, self.positions, 3, self.device)

    def parts(self) -> Iterator[Tensor]:
        """Read all images, some at a time."""
        size = max(1, _CHUNK // prod(self.shape[1:]))
        return (self[start : start + size] for start in range(0, len(self), size))

    def sums(self) -> Sums | None:
        """Return the sums over all pixels where they are known."""
        if self.positions is not None:
            return None
        sums, squares = (each * (self.shape[1] // len(each)) for each in self.stored.sums)
        return sums, squares

    def loaded(self) -> Tensor:
        """Read all images into memory; `InputError` is raised where they would fill it."""
        height, width = self.shape[2:]
        # Whatever is done with them next makes four bytes of each.
        check_memory(
            5 * self.numel(),
            f"{len(self):,} images of {width}x{height} pixels, all at once,",
            "take fewer, or smaller ones",
        )
        return self[:]

    def _positions(self, wanted: Tensor | slice) -> Tensor:
        """Return the positions of some images among all stored ones."""
        if isinstance(wanted, slice):
            places = torch.arange(*wanted.indices(len(self)))
        else:
            places = wanted.cpu() if wanted.dtype != torch.bool else torch.nonzero(wanted.cpu()).flatten()
            if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(self):
                raise IndexError(f"There are {len(self)} images, at places 0 to {len(self) - 1}.")
        return places if self.positions is None else self.positions[places]


class PairsOnDisk(TensorDataset):
    """Pairs of images on disk and labels, for any training code: images are read when they are needed.

    Args:
        images: The images, as they are stored.
        read: From positions `[M]` to the images there.
        labels: Class numbers or distributions, in the order of the images.
    """

    def __init__(self, images: DiskImages, read: Callable[[Tensor], Tensor], labels: Tensor) -> None:
        super().__init__(images, labels)
        self._read, self._labels = read, labels

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Return one pair."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} images.")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, ...]]:
        """Return the pairs of a batch at once, for a `DataLoader`."""
        positions = torch.tensor(indices, device=self._labels.device)
        return list(zip(self._read(positions), self._labels[positions], strict=True))


def pairs(images: Tensor, read: Callable[..., Tensor], labels: Tensor) -> TensorDataset:
    """Return pairs of labels and what `read` makes of images, of all or of those at positions."""
    return (
        PairsOnDisk(images, read, labels) if isinstance(images, DiskImages) else TensorDataset(read(), labels)
    )


def fingerprint(images: Tensor, facts: bytes, labels: Sequence[Tensor]) -> str:
    """Return sixteen hexadecimal digits of facts, pixels and labels; those of images on disk are kept beside them."""
    rest = [tensor.cpu().contiguous().numpy().data for tensor in labels]

    def compute() -> str:
        digest = hashlib.sha256(facts)
        for part in images.parts() if isinstance(images, DiskImages) else (images,):
            digest.update(part.cpu().contiguous().numpy().data)
        for each in rest:
            digest.update(each)
        return digest.hexdigest()[:16]

    if not isinstance(images, DiskImages):
        return compute()
    named = hashlib.sha256(repr((facts, images.shape)).encode())
    for each in (*rest, *([] if images.positions is None else [images.positions.numpy().data])):
        named.update(each)
    path = images.stored.known / named.hexdigest()[:32]
    with suppress(OSError, UnicodeDecodeError):
        if _FINGERPRINT.fullmatch(kept := path.read_text(encoding="ascii")):
            return kept
    found = compute()
    with suppress(InputError):  # on a full disk it is computed again the next time
        write_text(path, found)
    return found


def in_memory(images: Any) -> Any:
    """Return pixels on disk as a tensor in memory, and anything else as it is."""
    return images.loaded() if isinstance(images, DiskImages) else images


def taken(images: Tensor, wanted: Tensor) -> Tensor:
    """Return the images at some places; those on disk stay there."""
    return images.subset(wanted) if isinstance(images, DiskImages) else images[wanted]


def _fill(file: IO[bytes], offset: int, target: Pixels) -> None:
    """Read bytes from a place of a file until an array is full."""
    file.seek(offset)
    rest = memoryview(target.reshape(-1))  # type: ignore[arg-type]
    while rest:
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it is cut short")
        rest = rest[count:]
