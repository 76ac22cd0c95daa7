"""Studies: grids of recorded runs that run anywhere, continue after a stop, and share what they have in common."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.studies.backends import WorkersConfig
    from datacondense.studies.catalogue import STUDIES
    from datacondense.studies.cell import Cell, Place
    from datacondense.studies.config import StudyConfig
    from datacondense.studies.data_source import DataSource
    from datacondense.studies.estimate import KindEstimate, StudyEstimate
    from datacondense.studies.factory import CellFactory, grid
    from datacondense.studies.results import ClaimResult, EntryResult, StudyResult
    from datacondense.studies.runner import Outcome, StudyProgress
    from datacondense.studies.running import StudyRun, declared, estimate_study, find_study, run_study
    from datacondense.studies.selection_config import SelectionConfig
    from datacondense.studies.selection_running import select
    from datacondense.studies.study import Claim, Published, ScoreCell, Study
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "backends": ["WorkersConfig"],
            "cell": ["Cell", "Place"],
            "catalogue": ["STUDIES"],
            "config": ["StudyConfig"],
            "data_source": ["DataSource"],
            "results": ["ClaimResult", "EntryResult", "StudyResult"],
            "runner": ["Outcome", "StudyProgress"],
            "estimate": ["KindEstimate", "StudyEstimate"],
            "running": ["StudyRun", "declared", "estimate_study", "find_study", "run_study"],
            "selection_config": ["SelectionConfig"],
            "selection_running": ["select"],
            "factory": ["CellFactory", "grid"],
            "study": ["Claim", "Published", "ScoreCell", "Study"],
        },
    )

__all__ = [
    "STUDIES",
    "Cell",
    "CellFactory",
    "Claim",
    "ClaimResult",
    "DataSource",
    "EntryResult",
    "KindEstimate",
    "Outcome",
    "Place",
    "Published",
    "ScoreCell",
    "SelectionConfig",
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
    "select",
]
