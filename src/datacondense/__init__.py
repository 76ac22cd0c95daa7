"""Condense labelled image data sets: from tens of thousands of images to a few synthetic ones per class."""

from datacondense.condensation import (
    GradientMatchingConfig,
    Progress,
    RunConfig,
    condense,
    published_schedule,
)
from datacondense.data import (
    DataConfig,
    DataSplits,
    ExportReport,
    export,
    from_arrays,
    from_torch_dataset,
    hold_out,
    load,
    load_export,
)
from datacondense.errors import InputError
from datacondense.evaluation import EvaluationConfig, Score, evaluate
from datacondense.image_set import ImageSet
from datacondense.networks import Network, build_network
from datacondense.reports import draw_grid
from datacondense.selection import select_random

__all__ = [
    "DataConfig",
    "DataSplits",
    "EvaluationConfig",
    "ExportReport",
    "GradientMatchingConfig",
    "ImageSet",
    "InputError",
    "Network",
    "Progress",
    "RunConfig",
    "Score",
    "build_network",
    "condense",
    "draw_grid",
    "evaluate",
    "export",
    "from_arrays",
    "from_torch_dataset",
    "hold_out",
    "load",
    "load_export",
    "published_schedule",
    "select_random",
]
