"""Pictures and tables of results, for people to look at."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.reports.grid import draw_grid
else:
    __getattr__, __dir__ = lazy_names(__name__, {"grid": ["draw_grid"]})

__all__ = ["draw_grid"]
