"""Parquet files on this machine: one file, a folder in the layout of the Hub, or a local mirror of the Hub."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from datacondense.data.columns import batch_of, encoded, find_columns, names_of, read_table
from datacondense.data.config import DataConfig
from datacondense.data.image_files import facts_of_file
from datacondense.data.image_store import Batch, read_images
from datacondense.data.list_pixels import list_depth
from datacondense.data.splits import ReadSplit, Splits, read_splits, split_role
from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.memory_limits import check_memory

# "train-00000-of-00004", or any other name for a file that is all of a split.
_SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")
# "train_0" and "train-1" too, where the rest is the name of a split.
_NUMBERED = re.compile(r"(.+?)[-_. ]?\d+$")
_ROWS = 256  # read at a time


def read_parquet(path: Path, config: DataConfig) -> Splits:
    """Read a parquet file, or a folder of `<split>-*.parquet` or `<split>/*.parquet` files."""
    if not path.is_dir():
        # Named by the user, it is what to train on, whatever it is called.
        files = {_split_of(path): [path]}
        config = replace(config, train_split=config.train_split or _split_of(path))
    else:
        files = split_files(path, "parquet")
    return read_splits(list(files), lambda split: _read_split(files[split], split, config), config, str(path))


def parquet_folder(path: Path, config_name: str | None) -> Path | None:
    """Return the folder that holds the parquet files of a data set."""
    if any(path.glob("*.parquet")):
        return path
    configs = sorted({file.parent.name for file in path.glob("*/*.parquet")})
    if config_name in configs:
        return path / str(config_name)
    if config_name in {None, "default"} and configs and all(map(split_role, configs)):
        return path
    if config_name in {None, "default"} and len(configs) == 1:
        return path / configs[0]
    if config_name is None and configs:
        raise InputError(
            f"{path} has the configurations {', '.join(configs)}, but one is needed: name it with --config."
        )
    return None


def split_files(folder: Path, suffix: str) -> dict[str, list[Path]]:
    """Return the files of each split, by the names of the files or else of the folders that they lie in."""
    direct = list(folder.glob(f"*.{suffix}"))
    shards: dict[str, list[Path]] = {}
    for file in sorted(direct or folder.glob(f"*/*.{suffix}"), key=_in_order):
        shards.setdefault(_split_of(file) if direct else file.parent.name, []).append(file)
    return shards


def _split_of(file: Path) -> str:
    """Return the split that a file holds, or holds a part of."""
    name = _SHARD.sub("", file.stem)
    number = _NUMBERED.fullmatch(name)
    return number[1] if number and split_role(number[1]) else name


def _in_order(file: Path) -> list[tuple[int, str]]:
    """Return what sorts names with numbers by the numbers: "train_2" comes before "train_10"."""
    parts = re.split(r"(\d+)", file.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _read_split(files: Sequence[Path], split: str, config: DataConfig) -> ReadSplit:
    """Read the files of a split: all of them at once, or only the labels where images are to lie in the cache."""
    if not config.cache:
        return read_table(_table(files, config), split, config)
    rows = ParquetRows(files, split, config)
    if rows.are_lists:
        return read_table(_table(files, config), split, config)
    labels = _table(files, config, rows.label_column)
    return ReadSplit(
        images=read_images(rows, config),
        labels=labels.with_format(None)[:][rows.label_column],
        class_names=names_of(labels.features, rows.label_column),
        split=split,
    )


class ParquetRows:
    """The encoded images of parquet files, of which memory holds a few thousand at a time.

    Args:
        files: The files, in order.
        split: The split that they hold.
        config: Which column holds the images.
    """

    def __init__(self, files: Sequence[Path], split: str, config: DataConfig) -> None:
        self._files, self._split = files, split
        with _opened(files[0]) as file:
            self._column, self.label_column = find_columns(_features(file), config)
            self.are_lists = list_depth(file.schema_arrow.field(self._column).type) > 0

    @cached_property
    def total(self) -> int:
        """How many there are."""
        total = 0
        for path in self._files:
            with _opened(path) as file:
                total += file.metadata.num_rows
        return total

    def described(self) -> list[Any]:
        """Return the names of the files, their sizes and when they were modified, and which column it is."""
        return [self._column, [[path.name, *facts_of_file(path)] for path in self._files]]

    def batches(self, size: int, start: int) -> Iterator[Callable[[], Batch]]:
        """Yield what reads so many rows each, from the batch of a number on."""
        first, rows = start * size, islice(self._entries(), start * size, None)
        while entries := list(islice(rows, size)):
            yield partial(batch_of, entries, first, self._split, ())
            first += len(entries)

    def _entries(self) -> Iterator[Any]:
        """Yield what the column holds."""
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415

        for path in self._files:
            with _opened(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS, columns=[self._column]):
                    table = _typed(pa.Table.from_batches([batch]), _features(file))
                    yield from encoded(table, self._column)[:][self._column]


def _table(files: Sequence[Path], config: DataConfig, column: str | None = None) -> Any:
    """Read images and labels, or one column, into memory; `datasets` would copy them to its cache first."""
    import datasets  # noqa: PLC0415

    tables = [_file_table(file, config, column) for file in files]
    try:
        return datasets.concatenate_datasets(tables)
    except ValueError as error:
        raise InputError(
            f"{files[0]} and the other files of its split have different columns: keep files of one data set only in "
            "that folder."
        ) from error


def _file_table(file: Path, config: DataConfig, column: str | None) -> Any:
    """Read the two columns of one file, or one; no more of it than the memory holds."""
    import pyarrow as pa  # noqa: PLC0415

    with _opened(file) as opened:
        features = _features(opened)
        columns = [column] if column else list(dict.fromkeys(find_columns(features, config)))
        size, batches = 0, []
        for batch in opened.iter_batches(batch_size=_ROWS, columns=columns):
            # Not by the metadata of the file: a repeated value takes no room in it, and damaged ones end the process.
            size += batch.nbytes
            check_memory(size, f"The images of {file}", "split it, or keep them on disk with --cache")
            batches.append(batch)
        kinds = pa.schema([known for known in opened.schema_arrow if known.name in columns])
        table = pa.Table.from_batches(batches, schema=batches[0].schema if batches else kinds)
        return _typed(table, features)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a parquet file; whatever its reader raises meanwhile becomes one sentence."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    with reading(path, "a parquet file", "copy or download it again"), pq.ParquetFile(path) as file:
        yield file


def _features(file: Any) -> Any:
    """Return the types of the columns of an open file."""
    import datasets  # noqa: PLC0415

    return datasets.Features.from_arrow_schema(file.schema_arrow)


def _typed(table: Any, features: Any) -> Any:
    """Return an Arrow table with the types that its columns have in the features."""
    import datasets  # noqa: PLC0415

    kinds = datasets.Features({name: features[name] for name in table.column_names})
    return datasets.Dataset(table.replace_schema_metadata(kinds.arrow_schema.metadata))
