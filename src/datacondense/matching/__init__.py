"""Gradient matching: the numerical core, pure functions from tensors to tensors."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.matching.distances import DISTANCES, distance_named
    from datacondense.matching.gradients import (
        Objective,
        compared_parameters,
        joint_matching_gradient,
        matching_gradient,
        parameter_gradients,
        pixel_gradient,
    )
    from datacondense.matching.names import PRECISIONS
    from datacondense.matching.transforms import transform_named
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "distances": ["DISTANCES", "distance_named"],
            "gradients": [
                "Objective",
                "compared_parameters",
                "joint_matching_gradient",
                "matching_gradient",
                "parameter_gradients",
                "pixel_gradient",
            ],
            "names": ["PRECISIONS"],
            "transforms": ["transform_named"],
        },
    )

__all__ = [
    "DISTANCES",
    "PRECISIONS",
    "Objective",
    "compared_parameters",
    "distance_named",
    "joint_matching_gradient",
    "matching_gradient",
    "parameter_gradients",
    "pixel_gradient",
    "transform_named",
]
