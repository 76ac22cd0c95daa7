"""Parquet files on this machine: one file, a folder in the layout of the Hub, or a local mirror of the Hub."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import Splits, read_splits
from datacondense.errors import InputError

# "train-00000-of-00004", or any other name for a file that is all of a split.
_SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")


def read_parquet(path: Path, config: DataConfig) -> Splits:
    """Read a parquet file, or a folder of `<split>-*.parquet` files."""
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    shards: dict[str, list[Path]] = {}
    for file in files:
        shards.setdefault(_SHARD.sub("", file.stem), []).append(file)
    return read_splits(
        list(shards), lambda split: read_table(_table(shards[split]), split, config), config, str(path)
    )


def parquet_folder(path: Path, config_name: str | None) -> Path | None:
    """Return the folder that holds the parquet files of a data set."""
    if any(path.glob("*.parquet")):
        return path
    configs = sorted({file.parent.name for file in path.glob("*/*.parquet")})
    if config_name in configs:
        return path / str(config_name)
    if config_name in {None, "default"} and len(configs) == 1:
        return path / configs[0]
    if config_name is None and configs:
        raise InputError(
            f"{path} has the configurations {', '.join(configs)}, but one is needed: name it with --config."
        )
    return None


def _table(files: Sequence[Path]) -> Any:
    """Read files into memory; the readers of `datasets` would copy them to its cache first."""
    import datasets  # noqa: PLC0415
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    tables = []
    for file in files:
        try:
            tables.append(datasets.Dataset(pq.read_table(file)))
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            raise InputError(
                f"{file} cannot be read as parquet ({str(error).splitlines()[0]}): copy or download it again."
            ) from error
    try:
        return datasets.concatenate_datasets(tables)
    except ValueError as error:
        raise InputError(
            f"{files[0]} and the other files of its split have different columns: keep files of one data set only in "
            "that folder."
        ) from error
