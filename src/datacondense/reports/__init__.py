"""Pictures and tables of results, for people to look at."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.reports.grid import draw_grid
    from datacondense.reports.study_plots import draw_study
    from datacondense.reports.study_tables import csv_text, markdown, write_study
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "grid": ["draw_grid"],
            "study_plots": ["draw_study"],
            "study_tables": ["csv_text", "markdown", "write_study"],
        },
    )

__all__ = ["csv_text", "draw_grid", "draw_study", "markdown", "write_study"]
