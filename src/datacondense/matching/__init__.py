"""Gradient matching: the numerical core, pure functions from tensors to tensors."""

from datacondense.matching.distances import DISTANCES, distance_named
from datacondense.matching.gradients import (
    PRECISIONS,
    compared_parameters,
    matching_gradient,
    parameter_gradients,
    pixel_gradient,
)

__all__ = [
    "DISTANCES",
    "PRECISIONS",
    "compared_parameters",
    "distance_named",
    "matching_gradient",
    "parameter_gradients",
    "pixel_gradient",
]
