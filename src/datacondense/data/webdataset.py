"""Shards in WebDataset's format: tar files whose members `<key>.jpg`, `<key>.cls` and so on are one row each.

The reader of `datasets` takes regular files out of them into memory; nothing is unpacked to a path.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datacondense.data.config import DataConfig
from datacondense.data.hub import quiet
from datacondense.data.image_files import facts_of_file
from datacondense.data.parquet import split_files
from datacondense.data.splits import ReadSplit, Splits, read_splits, split_role
from datacondense.data.streams import read_stream
from datacondense.files import reading

_LABEL = "cls"  # its usual name in the format


def has_shards(folder: Path) -> bool:
    """Whether a folder holds tar files, and no folders but those of splits with tar files."""
    folders = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    if folders:
        return all(split_role(each.name) and any(each.glob("*.tar")) for each in folders)
    return any(folder.glob("*.tar"))


def read_webdataset(folder: Path, config: DataConfig) -> Splits:
    """Read a folder of `<split>-*.tar` or `<split>/*.tar` files."""
    files = split_files(folder, "tar")
    return read_splits(
        list(files), lambda split: _read_split(files[split], split, config), config, str(folder)
    )


def _read_split(files: Sequence[Path], split: str, config: DataConfig) -> ReadSplit:
    """Read the files of one split, in order."""
    stream = partial(_stream, files)
    with (
        reading(files[0], "WebDataset's shards", "write them again, one image and one label for each key"),
        quiet(),
    ):
        features = stream().features
        if config.label_column is None and _LABEL in features:
            config = replace(config, label_column=_LABEL)
        made_of = [[file.name, *facts_of_file(file)] for file in files]
        return read_stream(stream, features, split, config, made_of)


def _stream(files: Sequence[Path]) -> Any:
    """Open the rows of files."""
    import datasets  # noqa: PLC0415

    named = {"train": list(map(str, files))}
    return datasets.load_dataset("webdataset", data_files=named, split="train", streaming=True)
