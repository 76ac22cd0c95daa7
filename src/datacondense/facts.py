"""What is known of data sets by their names, wherever their images come from."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts about a data set that its pixels do not show.

    Attributes:
        may_be_mirrored: Whether a mirrored image keeps its class, which digits do not.
        augmentation: The strategy with which published evaluation trains on it: gradient matching (Zhao et al. 2021,
            appendix) augments MNIST alone.
    """

    may_be_mirrored: bool = True
    augmentation: str = "none"


_KNOWN = {
    "digits": Facts(may_be_mirrored=False),
    "mnist": Facts(may_be_mirrored=False, augmentation="crop-scale-rotate"),
    "svhn": Facts(may_be_mirrored=False),
    "usps": Facts(may_be_mirrored=False),
}


def is_known(dataset: str | None) -> bool:
    """Whether a data set differs from the defaults in what its name tells."""
    return dataset in _KNOWN


def facts_of(dataset: str | None) -> Facts:
    """Return what is known of a data set by its name; the defaults for any name that is not known."""
    return _KNOWN.get(dataset or "", Facts())
