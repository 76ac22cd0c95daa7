"""Names of distances and precisions, which settings can be checked against before torch is loaded."""

from typing import Literal, TypeAlias, get_args

from datacondense.errors import InputError

Precision: TypeAlias = Literal["auto", "float64", "float32", "bfloat16"]

PRECISIONS: tuple[str, ...] = get_args(Precision)
DISTANCE_NAMES = ("layerwise-cosine", "flat-cosine", "squared")


def check_precision(name: str) -> None:
    """Check the name of a precision.

    Args:
        name: The name.

    Raises:
        InputError: There is no such precision.
    """
    if name not in PRECISIONS:
        raise InputError(f"precision is {name!r}: choose one of {', '.join(PRECISIONS)}.")


def check_distance(name: str) -> None:
    """Check the name of a distance.

    Args:
        name: The name.

    Raises:
        InputError: There is no such distance.
    """
    if name not in DISTANCE_NAMES:
        raise InputError(f"There is no distance {name!r}: choose one of {', '.join(DISTANCE_NAMES)}.")
