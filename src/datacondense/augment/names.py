"""Names of augmentation strategies, which settings can be checked against before torch is loaded.

none                 no augmentation
crop-scale-rotate    each image gets one of the operations (`OPERATIONS`)
dsa:color-crop       differentiable Siamese augmentation: each batch gets one (`SIAMESE_OPERATIONS`)
dsa                  the same with every operation that leaves the classes of the data set as they are
"""

from itertools import combinations

from datacondense.errors import InputError

OPERATIONS = ("crop", "scale", "rotate", "noise")
SIAMESE_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
# Those that choose per image; the Siamese ones would be 63 more.
STRATEGIES = ("none", *("-".join(some) for count in range(1, 5) for some in combinations(OPERATIONS, count)))
_SIAMESE = "dsa"
_PREFIX = f"{_SIAMESE}:"


def check_strategy(strategy: str) -> None:
    """Check the name of a strategy: "none", operations joined by hyphens in any order, "dsa", or "dsa:" and such.

    Args:
        strategy: The name.

    Raises:
        InputError: The name holds an unknown or repeated operation.
    """
    names = strategy.removeprefix(_PREFIX).split("-")
    known = SIAMESE_OPERATIONS if is_siamese(strategy) else OPERATIONS
    if strategy not in {"none", _SIAMESE} and (len(set(names)) < len(names) or not set(names) <= set(known)):
        raise InputError(
            f"Augmentation strategy {strategy!r} is unknown: give 'none', or some of {', '.join(OPERATIONS)} "
            f"joined by hyphens, each once, such as 'crop-scale-rotate', or {_SIAMESE!r}, or {_PREFIX!r} before some "
            f"of {', '.join(SIAMESE_OPERATIONS)}, such as 'dsa:color-crop-cutout'."
        )


def is_siamese(strategy: str) -> bool:
    """Tell whether a strategy is a differentiable Siamese augmentation.

    Args:
        strategy: The name.

    Returns:
        True for "dsa" and names that begin with "dsa:".
    """
    return strategy == _SIAMESE or strategy.startswith(_PREFIX)


def siamese_operations(strategy: str) -> str:
    """Give the operations of a Siamese strategy.

    Args:
        strategy: A settled name, such as "dsa:crop-color".

    Returns:
        The operations in the order of `SIAMESE_OPERATIONS`, joined by hyphens, such as "color-crop".

    Raises:
        InputError: The name is unknown, or names no Siamese operations.
    """
    check_strategy(strategy)
    if not strategy.startswith(_PREFIX):
        raise InputError(
            f"Augmentation strategy {strategy!r} names no Siamese operations: give it as settled for a data set, such "
            "as 'dsa:color-crop-cutout'."
        )
    names = strategy.removeprefix(_PREFIX).split("-")
    return "-".join(name for name in SIAMESE_OPERATIONS if name in names)


def resolved_strategy(strategy: str, *, mirrored: bool) -> str:
    """Spell out what "dsa" means on a data set; a list of Siamese operations is put into one order.

    Args:
        strategy: The name.
        mirrored: Whether an image of the data set keeps its class when it is mirrored; where not, "dsa" leaves flip
            out.

    Returns:
        "dsa:color-crop-cutout-flip-scale-rotate" or a part of it; other strategies as they are.

    Raises:
        InputError: The name is unknown.
    """
    check_strategy(strategy)
    if strategy == _SIAMESE:
        return _PREFIX + "-".join(name for name in SIAMESE_OPERATIONS if mirrored or name != "flip")
    return _PREFIX + siamese_operations(strategy) if is_siamese(strategy) else strategy
