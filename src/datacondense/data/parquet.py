"""Parquet files on this machine: one file, a folder in the layout of the Hub, or a local mirror of the Hub."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import ReadSplit, select_splits
from datacondense.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

# "train-00000-of-00004", or any other name for a file that is a whole split.
_SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")


def read_parquet(path: Path, config: DataConfig) -> tuple[ReadSplit, ReadSplit | None]:
    """Read a parquet file, or a folder of `<split>-*.parquet` files.

    Args:
        path: The file or the folder.
        config: Splits and columns.

    Returns:
        The training split; the test split, or None where there is none.

    Raises:
        InputError: A file cannot be read, or a split or column is missing.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    shards: dict[str, list[Path]] = {}
    for file in files:
        shards.setdefault(_SHARD.sub("", file.stem), []).append(file)
    train, test = select_splits(list(shards), config, str(path))
    train_split = read_table(_table(shards[train]), train, config)
    return train_split, read_table(_table(shards[test]), test, config) if test is not None else None


def parquet_folder(path: Path, config_name: str | None) -> Path | None:
    """Find the folder that holds the parquet files of a data set.

    Args:
        path: That folder itself, or the folder of the data set, with one folder for each configuration.
        config_name: The configuration, or None where there is only one.

    Returns:
        The folder; None where there are no parquet files, or none of that configuration.

    Raises:
        InputError: There are several configurations, and none is named.
    """
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


def _table(files: Sequence[Path]) -> "Dataset":
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
