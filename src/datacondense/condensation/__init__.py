"""Condensation: the loop (once), the methods (one file each), the run's folder."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.condensation.config import MethodConfig, RunConfig
    from datacondense.condensation.dataset_distillation_config import DatasetDistillationConfig
    from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
    from datacondense.condensation.gradient_matching_config import (
        GradientMatchingConfig,
        SiameseMatchingConfig,
    )
    from datacondense.condensation.loop import Progress, condense
    from datacondense.condensation.parameter_matching_config import ParameterMatchingConfig
    from datacondense.condensation.run_directory import ResumeError, RunDirectory
    from datacondense.condensation.schedule import Schedule, published_schedule
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "config": ["MethodConfig", "RunConfig"],
            "dataset_distillation_config": ["DatasetDistillationConfig"],
            "distribution_matching_config": ["DistributionMatchingConfig"],
            "gradient_matching_config": ["GradientMatchingConfig", "SiameseMatchingConfig"],
            "loop": ["Progress", "condense"],
            "parameter_matching_config": ["ParameterMatchingConfig"],
            "run_directory": ["ResumeError", "RunDirectory"],
            "schedule": ["Schedule", "published_schedule"],
        },
    )

__all__ = [
    "DatasetDistillationConfig",
    "DistributionMatchingConfig",
    "GradientMatchingConfig",
    "MethodConfig",
    "ParameterMatchingConfig",
    "Progress",
    "ResumeError",
    "RunConfig",
    "RunDirectory",
    "Schedule",
    "SiameseMatchingConfig",
    "condense",
    "published_schedule",
]
