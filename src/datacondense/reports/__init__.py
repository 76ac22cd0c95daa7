"""Pictures and tables of results, for people to look at."""

from datacondense.reports.grid import draw_grid

__all__ = ["draw_grid"]
