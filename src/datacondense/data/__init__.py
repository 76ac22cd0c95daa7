"""Names and paths to `ImageSet`s: the Hub and its local mirrors, parquet, image folders, arrays."""

from datacondense.data.catalogue import default_augmentation
from datacondense.data.config import DataConfig, DataSplits
from datacondense.data.sources import load

__all__ = [
    "DataConfig",
    "DataSplits",
    "default_augmentation",
    "load",
]
