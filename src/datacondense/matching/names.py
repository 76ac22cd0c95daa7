"""Names of distances, transforms and precisions, which settings can be checked against before torch is loaded."""

from typing import Literal, NamedTuple, TypeAlias, get_args

from datacondense.errors import InputError

Precision: TypeAlias = Literal["auto", "float64", "float32", "bfloat16"]

PRECISIONS: tuple[str, ...] = get_args(Precision)
DISTANCE_NAMES = ("layerwise-cosine", "flat-cosine", "squared")
POOLINGS = ("max", "mean", "abs-max")
POOLED_SIZES = (1, 2)
MASKS = ("keep-magnitude", "keep-stable", "keep-sensitive")
GLOBAL = "-global"  # ends the name of a mask that ranks the entries of all layers together
SUB_BATCHES = 4  # where a filter's name does not say how many


class TransformName(NamedTuple):
    """A gradient transform, as its name says it.

    Attributes:
        kind: What it does, without its number: "max-pool-1", "keep-magnitude", "wiener", …
        value: Its number: the fraction that a mask keeps, the sub-batches of "wiener", the ratio of "keep-snr"; 0 for
            poolings, which have none.
    """

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.value:.12g}" if self.value else self.kind


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


def parse_transform(name: str) -> TransformName:
    """Read the name of a gradient transform.

    Args:
        name: Such as "max-pool-1", "keep-magnitude:0.0025" or "wiener:4".

    Returns:
        The transform; equal ones are written alike by `str`.

    Raises:
        InputError: There is no such transform, or its number is missing or breaks its rule.
    """
    kind, colon, number = name.partition(":")
    poolings = [f"{pooling}-pool-{size}" for pooling in POOLINGS for size in POOLED_SIZES]
    masks = [f"{mask}{end}" for mask in MASKS for end in ("", GLOBAL)]
    if kind in poolings and not colon:
        return TransformName(kind)
    value = _number(number)
    if kind in masks:
        if not 0 < value <= 1:
            raise InputError(
                f"{name!r} must say which fraction of the entries it keeps, above 0 and at most 1, as in {kind}:0.1."
            )
        return TransformName(kind, value)
    if kind == "keep-snr":
        if not 0 < value < float("inf"):
            raise InputError(f"{name!r} must say a ratio above 0, as in {kind}:1.")
        return TransformName(kind, value)
    if kind == "wiener":
        value = value if number else SUB_BATCHES
        if not (value >= 2 and value % 1 == 0):
            raise InputError(
                f"{name!r} must say a whole number of sub-batches from 2 on, as in {kind}:{SUB_BATCHES}."
            )
        return TransformName(kind, value)
    known = ", ".join([
        *poolings,
        *(f"{mask}:FRACTION" for mask in masks),
        "keep-snr:RATIO",
        "wiener:SUBBATCHES",
    ])
    raise InputError(f"There is no gradient transform {name!r}: choose from {known}.")


def _number(text: str) -> float:
    """Read a number; what is none breaks every rule."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
