"""Resolve what the user named to a reader: a name of the catalogue, a path, or an id of the Hub."""

import difflib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from datacondense.data.catalogue import CATALOGUE, CatalogueEntry
from datacondense.data.config import DataConfig, DataSplits
from datacondense.data.parquet import parquet_folder, read_parquet
from datacondense.data.splits import assemble
from datacondense.errors import InputError


def load(source: str | Path, config: DataConfig = DataConfig()) -> DataSplits:
    entry = CATALOGUE[str(source)]
    filled = replace(
        config,
        config=config.config or entry.config,
        image_column=config.image_column or entry.image_column,
        label_column=config.label_column or entry.label_column,
    )
    root = config.data_root or Path(os.environ["DATACONDENSE_DATA"])
    folder = parquet_folder(root / str(entry.hub_id), filled.config)
    assert folder
    train, test = read_parquet(folder, filled)
    published = (entry.mean, entry.std) if entry.mean is not None and entry.std is not None else None
    return assemble(
        train,
        test,
        source={
            "name": str(source),
            "hub_id": entry.hub_id,
            "config": filled.config,
            "resize": config.resize,
            "channels": config.channels,
        },
        published=published,
    )
