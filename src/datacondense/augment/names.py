"""Names of augmentation strategies, which settings can be checked against before torch is loaded."""

from itertools import combinations

from datacondense.errors import InputError

OPERATIONS = ("crop", "scale", "rotate", "noise")
STRATEGIES = ("none", *("-".join(some) for count in range(1, 5) for some in combinations(OPERATIONS, count)))


def check_strategy(strategy: str) -> None:
    """Check the name of a strategy: "none", or operations joined by hyphens, in any order.

    Args:
        strategy: The name.

    Raises:
        InputError: The name holds an unknown or repeated operation.
    """
    names = strategy.split("-")
    if strategy != "none" and (len(set(names)) < len(names) or not set(names) <= set(OPERATIONS)):
        raise InputError(
            f"Augmentation strategy {strategy!r} is unknown: give 'none', or some of {', '.join(OPERATIONS)} "
            "joined by hyphens, each once, such as 'crop-scale-rotate'."
        )
