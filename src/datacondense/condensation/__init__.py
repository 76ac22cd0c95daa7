"""Condensation: the loop (once), the methods (one file each), the run's folder."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.condensation.config import GradientMatchingConfig, RunConfig
    from datacondense.condensation.loop import Progress, condense
    from datacondense.condensation.run_directory import ResumeError, RunDirectory
    from datacondense.condensation.schedule import Schedule, published_schedule
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "config": ["GradientMatchingConfig", "RunConfig"],
            "loop": ["Progress", "condense"],
            "run_directory": ["ResumeError", "RunDirectory"],
            "schedule": ["Schedule", "published_schedule"],
        },
    )

__all__ = [
    "GradientMatchingConfig",
    "Progress",
    "ResumeError",
    "RunConfig",
    "RunDirectory",
    "Schedule",
    "condense",
    "published_schedule",
]
