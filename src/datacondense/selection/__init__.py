"""Selection: subsets of real images, the baselines of condensation."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.selection.forgetting import ForgettingCounts, select_forgetting
    from datacondense.selection.herding import select_herding
    from datacondense.selection.k_center import select_k_center
    from datacondense.selection.random import select_random
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "forgetting": ["ForgettingCounts", "select_forgetting"],
            "herding": ["select_herding"],
            "k_center": ["select_k_center"],
            "random": ["select_random"],
        },
    )

__all__ = ["ForgettingCounts", "select_forgetting", "select_herding", "select_k_center", "select_random"]
