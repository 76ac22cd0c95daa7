"""Condensation: the loop (once), the methods (one file each), the run's folder."""

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import Progress, RunConfig, condense
from datacondense.condensation.run_directory import RunDirectory
from datacondense.condensation.schedule import Schedule, published_schedule

__all__ = [
    "GradientMatchingConfig",
    "Progress",
    "RunConfig",
    "RunDirectory",
    "Schedule",
    "condense",
    "published_schedule",
]
