"""Studies: grids of recorded runs that run anywhere, continue after a stop, and share what they have in common."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.studies.backends import WorkersConfig
    from datacondense.studies.catalogue import STUDIES
    from datacondense.studies.config import StudyConfig
    from datacondense.studies.data_source import DataSource
    from datacondense.studies.estimate import StudyEstimate
    from datacondense.studies.results import StudyResult
    from datacondense.studies.runner import StudyProgress
    from datacondense.studies.running import StudyRun, declared, estimate_study, find_study, run_study
    from datacondense.studies.study import CellFactory, Claim, Published, Study, grid
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "backends": ["WorkersConfig"],
            "catalogue": ["STUDIES"],
            "config": ["StudyConfig"],
            "data_source": ["DataSource"],
            "results": ["StudyResult"],
            "runner": ["StudyProgress"],
            "estimate": ["StudyEstimate"],
            "running": ["StudyRun", "declared", "estimate_study", "find_study", "run_study"],
            "study": ["CellFactory", "Claim", "Published", "Study", "grid"],
        },
    )

__all__ = [
    "STUDIES",
    "CellFactory",
    "Claim",
    "DataSource",
    "Published",
    "Study",
    "StudyConfig",
    "StudyEstimate",
    "StudyProgress",
    "StudyResult",
    "StudyRun",
    "WorkersConfig",
    "declared",
    "estimate_study",
    "find_study",
    "grid",
    "run_study",
]
