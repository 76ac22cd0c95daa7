"""Condense labelled image data sets: from tens of thousands of images to a few synthetic ones per class."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.condensation.config import RunConfig
    from datacondense.condensation.dataset_distillation_config import DatasetDistillationConfig
    from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
    from datacondense.condensation.gradient_matching_config import (
        GradientMatchingConfig,
        SiameseMatchingConfig,
    )
    from datacondense.condensation.loop import Progress, condense
    from datacondense.condensation.parameter_matching_config import ParameterMatchingConfig
    from datacondense.condensation.schedule import published_schedule
    from datacondense.data.arrays import from_arrays, from_torch_dataset
    from datacondense.data.config import DataConfig
    from datacondense.data.exports import ExportReport, export, load_export
    from datacondense.data.sources import load
    from datacondense.data.splits import DataSplits
    from datacondense.data.validation import hold_out
    from datacondense.errors import InputError
    from datacondense.evaluation.protocol import EvaluationConfig, Score
    from datacondense.evaluation.scoring import evaluate
    from datacondense.image_set import ImageSet
    from datacondense.networks.builder import build_network
    from datacondense.networks.network import Network
    from datacondense.reports.grid import draw_grid, plot_grid
    from datacondense.selection.forgetting import ForgettingCounts, select_forgetting
    from datacondense.selection.herding import select_herding
    from datacondense.selection.k_center import select_k_center
    from datacondense.selection.random import select_random
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "condensation.config": ["RunConfig"],
            "condensation.dataset_distillation_config": ["DatasetDistillationConfig"],
            "condensation.distribution_matching_config": ["DistributionMatchingConfig"],
            "condensation.gradient_matching_config": ["GradientMatchingConfig", "SiameseMatchingConfig"],
            "condensation.loop": ["Progress", "condense"],
            "condensation.parameter_matching_config": ["ParameterMatchingConfig"],
            "condensation.schedule": ["published_schedule"],
            "data.arrays": ["from_arrays", "from_torch_dataset"],
            "data.config": ["DataConfig"],
            "data.exports": ["ExportReport", "export", "load_export"],
            "data.sources": ["load"],
            "data.splits": ["DataSplits"],
            "data.validation": ["hold_out"],
            "errors": ["InputError"],
            "evaluation.protocol": ["EvaluationConfig", "Score"],
            "evaluation.scoring": ["evaluate"],
            "image_set": ["ImageSet"],
            "networks.builder": ["build_network"],
            "networks.network": ["Network"],
            "reports.grid": ["draw_grid", "plot_grid"],
            "selection.forgetting": ["ForgettingCounts", "select_forgetting"],
            "selection.herding": ["select_herding"],
            "selection.k_center": ["select_k_center"],
            "selection.random": ["select_random"],
        },
    )

__all__ = [
    "DataConfig",
    "DataSplits",
    "DatasetDistillationConfig",
    "DistributionMatchingConfig",
    "EvaluationConfig",
    "ExportReport",
    "ForgettingCounts",
    "GradientMatchingConfig",
    "ImageSet",
    "InputError",
    "Network",
    "ParameterMatchingConfig",
    "Progress",
    "RunConfig",
    "Score",
    "SiameseMatchingConfig",
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
    "plot_grid",
    "published_schedule",
    "select_forgetting",
    "select_herding",
    "select_k_center",
    "select_random",
]
