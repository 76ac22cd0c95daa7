"""Data sets of the Hugging Face `datasets` library that are read row by row, images together with their labels."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from torch import Tensor

from datacondense.data.columns import batch_of, find_columns, names_of
from datacondense.data.config import DataConfig
from datacondense.data.decode import decode_images
from datacondense.data.image_store import Batch, labels_of, stored_images
from datacondense.data.splits import ReadSplit
from datacondense.memory_limits import check_memory


class StreamedRows:
    """The encoded images and labels of a stream.

    Args:
        stream: Opens it from its beginning.
        columns: Its columns with the images and with the labels.
        split: The split that it is.
        made_of: What its rows depend on, as plain JSON values.
    """

    total = None

    def __init__(
        self, stream: Callable[[], Any], columns: tuple[str, str], split: str, made_of: Sequence[Any]
    ) -> None:
        self._stream, self._columns, self._split, self._made_of = stream, columns, split, made_of

    def described(self) -> list[Any]:
        """Return what the rows depend on."""
        return [*self._columns, self._split, *self._made_of]

    def batches(self, size: int, start: int) -> Iterator[Callable[[], Batch]]:
        """Yield what reads so many rows each, from the batch of a number on; those before are skipped."""
        image, label = self._columns
        rows = encoded_rows(self._stream(), image, label)
        first = start * size if start else 0
        rows = iter(rows.skip(first) if first else rows)
        while found := list(self._limited(islice(rows, size))):
            entries, labels = [row[image] for row in found], [row[label] for row in found]
            yield partial(_batch, entries, labels, first, self._split)
            first += len(found)

    def _limited(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Yield rows as long as memory holds them all."""
        image, size = self._columns[0], 0
        for row in rows:
            size += len((row[image] or {}).get("bytes") or b"")
            check_memory(size, f"The images of the split {self._split!r}", "keep them on disk with --cache")
            yield row


def encoded_rows(stream: Any, image_column: str, *others: str) -> Any:
    """Return the rows of a stream, whose images are not decoded, with some of its columns."""
    import datasets  # noqa: PLC0415

    return stream.select_columns([image_column, *others]).cast_column(
        image_column, datasets.Image(decode=False)
    )


def read_stream(
    stream: Callable[[], Any], features: Any, split: str, config: DataConfig, made_of: Sequence[Any]
) -> ReadSplit:
    """Read a stream: into the cache, from which its labels come too, or into memory.

    Args:
        stream: Opens it from its beginning.
        features: The types of its columns.
        split: The split that it is.
        config: Which columns to read, and the form that images are to take.
        made_of: What its rows depend on, as plain JSON values.

    Returns:
        Images and labels.
    """
    columns = find_columns(features, config)
    rows = StreamedRows(stream, columns, split, made_of)
    resize, channels = config.resize, config.channels
    images: Tensor
    if config.cache:
        images = stored = stored_images(rows, resize=resize, channels=channels)
        labels: Sequence[Any] = labels_of(stored)
    else:
        sources, names, labels = next(rows.batches(sys.maxsize, 0), Batch)()
        images = decode_images(sources, names, resize=resize, channels=channels)
    return ReadSplit(images=images, labels=labels, class_names=names_of(features, columns[1]), split=split)


def _batch(entries: Sequence[Any], labels: Sequence[Any], first: int, split: str) -> Batch:
    """Return encoded images with their labels, by the number of the first row."""
    return batch_of(entries, first, split, ())._replace(labels=labels)
