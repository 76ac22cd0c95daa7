"""Names and paths to `ImageSet`s: the Hub and its local mirrors, parquet, image folders, arrays; and out again."""

from datacondense.data.arrays import from_arrays, from_torch_dataset
from datacondense.data.catalogue import default_augmentation
from datacondense.data.config import DataConfig, DataSplits
from datacondense.data.export import ExportReport, export, is_export, load_export
from datacondense.data.sources import load
from datacondense.data.validation import hold_out

__all__ = [
    "DataConfig",
    "DataSplits",
    "ExportReport",
    "default_augmentation",
    "export",
    "from_arrays",
    "from_torch_dataset",
    "hold_out",
    "is_export",
    "load",
    "load_export",
]
