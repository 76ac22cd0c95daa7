"""Selection: subsets of real images, the baselines of condensation."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.selection.herding import select_herding
    from datacondense.selection.k_center import select_k_center
    from datacondense.selection.random import select_random
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {"herding": ["select_herding"], "k_center": ["select_k_center"], "random": ["select_random"]},
    )

__all__ = ["select_herding", "select_k_center", "select_random"]
