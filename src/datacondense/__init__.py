"""Condense labelled image data sets: from tens of thousands of images to a few synthetic ones per class."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.condensation import (
        DatasetDistillationConfig,
        DistributionMatchingConfig,
        GradientMatchingConfig,
        ParameterMatchingConfig,
        Progress,
        RunConfig,
        SiameseMatchingConfig,
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
    from datacondense.selection import (
        ForgettingCounts,
        select_forgetting,
        select_herding,
        select_k_center,
        select_random,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "condensation": [
                "DatasetDistillationConfig",
                "DistributionMatchingConfig",
                "GradientMatchingConfig",
                "ParameterMatchingConfig",
                "Progress",
                "RunConfig",
                "SiameseMatchingConfig",
                "condense",
                "published_schedule",
            ],
            "data": [
                "DataConfig",
                "DataSplits",
                "ExportReport",
                "export",
                "from_arrays",
                "from_torch_dataset",
                "hold_out",
                "load",
                "load_export",
            ],
            "errors": ["InputError"],
            "evaluation": ["EvaluationConfig", "Score", "evaluate"],
            "image_set": ["ImageSet"],
            "networks": ["Network", "build_network"],
            "reports": ["draw_grid"],
            "selection": [
                "ForgettingCounts",
                "select_forgetting",
                "select_herding",
                "select_k_center",
                "select_random",
            ],
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
    "published_schedule",
    "select_forgetting",
    "select_herding",
    "select_k_center",
    "select_random",
]
