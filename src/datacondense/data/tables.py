"""Data sets of the Hugging Face `datasets` library: in memory, or in a folder that `save_to_disk` wrote."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import Splits, read_splits
from datacondense.errors import InputError
from datacondense.files import read_json, reading

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_REMEDY = "save the data set again with save_to_disk"


class _File(TypedDict):
    filename: str


class _State(TypedDict):
    _data_files: list[_File]


class _Dict(TypedDict):
    splits: list[str]


def is_table(source: object) -> bool:
    """Whether something is a data set of the `datasets` library, or its splits; the library is not imported."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(source, (library.Dataset, library.DatasetDict))


def read_tables(source: Any, config: DataConfig) -> Splits:
    """Read a data set in memory, or its splits."""
    if isinstance(source, Mapping):
        tables = {str(name): table for name, table in source.items()}
    else:
        split = str(source.split or "train")
        tables = {split: source}
        config = replace(config, train_split=config.train_split or split)
    # What the user's own program made may name any file.
    return read_splits(
        list(tables),
        lambda split: read_table(tables[split], split, config, folders=None),
        config,
        "The data set",
    )


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def read_saved(folder: Path, config: DataConfig) -> Splits:
    """Read a folder that `save_to_disk` wrote: JSON and Arrow files, from which nothing is executed."""
    if (folder / _SPLITS).is_file():
        names = read_json(folder / _SPLITS, _Dict, "the list of splits of a data set", _REMEDY)["splits"]
        folders = {name: folder / _plain(name, folder) for name in names}
    else:
        # Named by the user, it is what to train on, whatever it is called.
        folders = {folder.name: folder}
        config = replace(config, train_split=config.train_split or folder.name)
    return read_splits(
        list(folders),
        lambda split: read_table(_saved_table(folders[split]), split, config),
        config,
        str(folder),
    )


def _saved_table(folder: Path) -> Any:
    """Open one split; its files are mapped into memory and read as they are used."""
    import datasets  # noqa: PLC0415

    state = read_json(folder / _STATE, _State, "the description of a saved data set", _REMEDY)
    names = ["dataset_info.json", *(_plain(entry["filename"], folder) for entry in state["_data_files"])]
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks the file {name}: {_REMEDY}.")
    # Whatever the library raises belongs to what this file describes.
    with reading(folder / _STATE, "the description of a saved data set", _REMEDY):
        return datasets.Dataset.load_from_disk(str(folder))


def _plain(name: str, folder: Path) -> str:
    """Refuse a name that leads out of a folder."""
    if name in {"", ".", ".."} or Path(name).name != name:
        raise InputError(f"{folder} names the file {name!r}, which lies outside of it: {_REMEDY}.")
    return name
