"""Parquet files on this machine: one file, a folder in the layout of the Hub, or a local mirror of the Hub."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datacondense.data.columns import find_columns, read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import Splits, read_splits, split_role
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
        files = _split_files(path)
    return read_splits(
        list(files), lambda split: read_table(_table(files[split], config), split, config), config, str(path)
    )


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


def _split_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split, by the names of the files or else of the folders that they lie in."""
    direct = list(folder.glob("*.parquet"))
    shards: dict[str, list[Path]] = {}
    for file in sorted(direct or folder.glob("*/*.parquet"), key=_in_order):
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


def _table(files: Sequence[Path], config: DataConfig) -> Any:
    """Read images and labels into memory; the readers of `datasets` would copy them to its cache first."""
    import datasets  # noqa: PLC0415

    tables = [_file_table(file, config) for file in files]
    try:
        return datasets.concatenate_datasets(tables)
    except ValueError as error:
        raise InputError(
            f"{files[0]} and the other files of its split have different columns: keep files of one data set only in "
            "that folder."
        ) from error


def _file_table(file: Path, config: DataConfig) -> Any:
    """Read the two columns of one file; no more of it than the memory holds."""
    import datasets  # noqa: PLC0415
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    with reading(file, "a parquet file", "copy or download it again"), pq.ParquetFile(file) as opened:
        schema = opened.schema_arrow
        features = datasets.Features.from_arrow_schema(schema)
        columns = list(dict.fromkeys(find_columns(features, config)))
        size, batches = 0, []
        for batch in opened.iter_batches(batch_size=_ROWS, columns=columns):
            # Not by the metadata of the file: a repeated value takes no room in it, and damaged ones end the process.
            size += batch.nbytes
            check_memory(size, f"The images of {file}", "split it, and read a part")
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=batches[0].schema if batches else None)
        kinds = {name: features[name] for name in columns}
        return datasets.Dataset(table.replace_schema_metadata(datasets.Features(kinds).arrow_schema.metadata))
