"""Names and paths to `ImageSet`s: the Hub and its local mirrors, parquet, image folders, arrays; and out again."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.data.arrays import from_arrays, from_torch_dataset
    from datacondense.data.catalogue import default_augmentation
    from datacondense.data.config import DataConfig
    from datacondense.data.exports import ExportReport, export, is_export, load_export
    from datacondense.data.sources import load
    from datacondense.data.splits import DataSplits
    from datacondense.data.validation import hold_out
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "arrays": ["from_arrays", "from_torch_dataset"],
            "catalogue": ["default_augmentation"],
            "config": ["DataConfig"],
            "exports": ["ExportReport", "export", "is_export", "load_export"],
            "sources": ["load"],
            "splits": ["DataSplits"],
            "validation": ["hold_out"],
        },
    )

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
