"""A table of the Hugging Face `datasets` library to pixels and labels: which column is which, and decoding."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datacondense.data.config import DataConfig
from datacondense.data.image_files import facts_of_file
from datacondense.data.image_store import Batch, read_images
from datacondense.data.list_pixels import list_depth, pixels_of_lists
from datacondense.data.samples import LABEL_KEYS
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError


def read_table(
    table: Any, split: str, config: DataConfig, *, folders: Sequence[Path] | None = ()
) -> ReadSplit:
    """Decode the images of a table and find its labels.

    Images may be named by a path only where that lies in one of the `folders`; anywhere where None. A table from
    elsewhere must not read the files of this machine.
    """
    image_column, label_column = find_columns(table.features, config)
    kind = table.features.arrow_schema.field(image_column).type
    if list_depth(kind):
        column = table.select_columns([image_column]).with_format("arrow")[:].column(image_column)
        images = pixels_of_lists(column, image_column, split, config)
    else:
        images = read_images(TableRows(table, image_column, split, folders), config)
    return ReadSplit(
        images=images,
        labels=table.select_columns([label_column]).with_format(None)[:][label_column],
        class_names=names_of(table.features, label_column),
        split=split,
    )


def find_columns(features: Any, config: DataConfig) -> tuple[str, str]:
    """Return the columns of the images and of the labels."""
    image_column = _image_column(features, config.image_column)
    return image_column, _label_column(features, config.label_column, image_column)


def names_of(features: Any, label_column: str) -> tuple[str, ...] | None:
    """Return the class names that a column of labels knows."""
    return tuple(getattr(features[label_column], "names", None) or ()) or None


class TableRows:
    """The encoded images of a table.

    Args:
        table: The table.
        column: Its column with the images.
        split: The split that it is.
        folders: Where images may lie that it names by a path; anywhere where None.
    """

    def __init__(self, table: Any, column: str, split: str, folders: Sequence[Path] | None) -> None:
        self._table, self._column, self._split, self._folders = table, column, split, folders

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._table)

    def described(self) -> list[Any]:
        """Return the fingerprint of the table, and the sizes and dates of the files that it lies in."""
        files = [Path(file["filename"]) for file in self._table.cache_files]
        return [self._table._fingerprint, self._column, [facts_of_file(file) for file in files]]

    def batches(self, size: int, start: int) -> Iterator[Callable[[], Batch]]:
        """Yield what reads so many rows each, from the batch of a number on."""
        table = encoded(self._table.select_columns([self._column]), self._column)
        size = min(size, len(table))
        for first in range(start * size, len(table), max(1, size)):
            entries = table[first : first + size][self._column]
            yield partial(batch_of, entries, first, self._split, self._folders)


def batch_of(entries: Sequence[Any], first: int, split: str, folders: Sequence[Path] | None) -> Batch:
    """Return encoded images of consecutive rows, by the number of the first."""
    rows = [f"Row {first + row} of the split {split!r}" for row in range(len(entries))]
    return Batch([_source(entry, row, folders) for entry, row in zip(entries, rows, strict=True)], rows)


def encoded(table: Any, image_column: str) -> Any:
    """Return a table that does not decode its images, one at a time, as rows are read."""
    import datasets  # noqa: PLC0415

    try:
        return table.cast_column(image_column, datasets.Image(decode=False)).with_format(None)
    except Exception as error:  # pyarrow's errors are of many kinds.
        raise InputError(
            f"The column {image_column!r} ({table.features[image_column]}) holds no encoded images: name another one "
            "with --image-column."
        ) from error


def _source(entry: Any, row: str, folders: Sequence[Path] | None) -> Any:
    """Return the encoded bytes of an entry, or its path where it has no bytes."""
    if entry is None or entry["bytes"] is not None:
        return entry and entry["bytes"]
    if entry["path"] is None:
        return None
    path = Path(entry["path"])
    if folders is None or any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        return path
    raise InputError(
        f"{row} names the file {entry['path']!r} instead of holding the image, and a table may not name files outside "
        "of it: save it with the images in it, as Dataset.to_parquet does."
    )


def _image_column(features: Any, given: str | None) -> str:
    """Return the column of the images, found by its type where the user names none."""
    import datasets  # noqa: PLC0415

    if given is not None:
        return _present(features, given, "image")
    typed: list[str] = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    columns = typed or [name for name, feature in features.items() if _holds_bytes(feature)]
    columns = columns or [field.name for field in features.arrow_schema if list_depth(field.type)]
    if len(columns) != 1:
        raise InputError(
            f"The data set has {len(columns)} columns of images (columns: {', '.join(features)}), but exactly one is "
            "needed: name it with --image-column."
        )
    return columns[0]


def _holds_bytes(feature: Any) -> bool:
    """Whether a column holds encoded files without their type: a struct with bytes, or plain bytes."""
    return (isinstance(feature, dict) and "bytes" in feature) or getattr(feature, "dtype", None) == "binary"


def _label_column(features: Any, given: str | None, image_column: str) -> str:
    """Return the column of the labels, found by its type, else by its name, else as the only other column."""
    import datasets  # noqa: PLC0415

    if given is not None:
        return _present(features, given, "label")
    typed: list[str] = [
        name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)
    ]
    if len(typed) == 1:
        return typed[0]
    others = [name for name in features if name != image_column]
    named = [name for name in LABEL_KEYS if name in others]
    if named or len(others) == 1:
        return (named or others)[0]
    raise InputError(
        f"The column of the labels is ambiguous (columns: {', '.join(features)}): name it with --label-column."
    )


def _present(features: Any, column: str, kind: str) -> str:
    """Check that a column exists."""
    if column not in features:
        raise InputError(
            f"There is no column {column!r} (columns: {', '.join(features)}): name one of these with --{kind}-column."
        )
    return column
