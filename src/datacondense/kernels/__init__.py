"""Computations that torch has no fast form of, in C, compiled on the user's machine at first use.

Everything here has a plain form elsewhere in the library; where there is no compiler, that one is used.
"""

from datacondense.kernels.build import UnavailableError, library
from datacondense.kernels.operations import CHANNEL_BLOCK, norm_relu_pool

__all__ = ["CHANNEL_BLOCK", "UnavailableError", "library", "norm_relu_pool"]
