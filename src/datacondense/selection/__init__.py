"""Selection: subsets of real images, the baselines of condensation."""

from datacondense.selection.random import select_random

__all__ = ["select_random"]
