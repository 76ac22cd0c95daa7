"""Parquet files on this machine: one file, a folder in the layout of the Hub, or a local mirror of the Hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

_TEST_SPLITS = ("test", "validation", "valid", "val")


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
        shards.setdefault(file.stem.split("-")[0], []).append(file)
    train, test = chosen_splits(list(shards), config, str(path))
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
    if config_name is not None:
        return path / config_name if config_name in configs else None
    if len(configs) > 1:
        raise InputError(
            f"{path} has the configurations {', '.join(configs)}, but one is needed: name it with --config."
        )
    return path / configs[0] if configs else None


def chosen_splits(splits: Sequence[str], config: DataConfig, where: str) -> tuple[str, str | None]:
    """Choose the splits to train and to test on.

    Args:
        splits: The names of the splits there are.
        config: The splits asked for, if any.
        where: How a message calls the data set.

    Returns:
        The name of the training split, and of the test split or None.

    Raises:
        InputError: A split that was asked for is missing, or there are several and none is called "train".
    """
    for asked, flag in ((config.train_split, "train"), (config.test_split, "test")):
        if asked is not None and asked not in splits:
            raise InputError(
                f"{where} has no split {asked!r} (splits: {', '.join(splits)}): name one of these with --{flag}-split."
            )
    train = config.train_split or ("train" if "train" in splits or len(splits) != 1 else splits[0])
    if train not in splits:
        raise InputError(
            f"{where} has no split 'train' (splits: {', '.join(splits)}): name the one to learn from with "
            "--train-split."
        )
    found = [name for name in _TEST_SPLITS if name in splits and name != train]
    return train, config.test_split or (found[0] if found else None)


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
    return datasets.concatenate_datasets(tables)
