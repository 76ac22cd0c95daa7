from itertools import combinations

import pytest

from datacondense.augment.per_image import OPERATIONS
from datacondense.augment.siamese import SIAMESE_OPERATIONS
from datacondense.augment.strategies import (
    check_strategy,
    is_siamese,
    resolved_strategy,
    siamese_operations,
)
from datacondense.errors import InputError

STRATEGIES = ("none", *("-".join(some) for count in range(1, 5) for some in combinations(OPERATIONS, count)))

ALL = "dsa:color-crop-cutout-flip-scale-rotate"


@pytest.mark.parametrize(
    "strategy",
    [
        *STRATEGIES,
        "noise-crop",
        "dsa",
        ALL,
        "dsa:flip-color",
        *(f"{kind}:{name}" for kind in ("dsa", "idc") for name in SIAMESE_OPERATIONS),
        "idc",
        "idc:cutout-flip",
    ],
)
def test_known_strategies_pass(strategy: str) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize(
    "strategy",
    [
        "",
        "flip",
        "color-crop",
        "crop-crop",
        "crop-",
        "crop_scale",
        "Crop",
        "none-crop",
        "crop-dsa",
        "dsa:",
        "dsa-crop",
        "dsa:noise",
        "dsa:none",
        "dsa:color-color",
        "dsa:color_crop",
        "dsa:dsa",
        "dsa:dsa:color",
        "DSA",
        "dsa:Color",
        "dsa: color",
        "dsax",
        "idc:",
        "idc:noise",
        "idc:dsa",
        "idc:flip-flip",
        "crop:flip",
    ],
)
def test_unknown_strategies_are_refused(strategy: str) -> None:
    message = (
        rf"^Augmentation strategy '{strategy}' is unknown: give 'none', or some of crop, scale, rotate, noise "
        r".*or 'dsa' or 'idc', or 'dsa:' or 'idc:' before some of color, crop, cutout, flip, scale, rotate"
    )
    with pytest.raises(InputError, match=message):
        check_strategy(strategy)
    with pytest.raises(InputError, match=message):
        resolved_strategy(strategy, mirrored=True)
    with pytest.raises(InputError, match=message):
        siamese_operations(strategy)


def test_siamese_strategies_are_recognised() -> None:
    assert all(map(is_siamese, ("dsa", "dsa:crop", ALL, "idc", "idc:crop")))
    assert not any(map(is_siamese, (*STRATEGIES, "dsax", "idcx")))


def test_dsa_and_idc_are_resolved_for_the_data_set() -> None:
    assert resolved_strategy("dsa", mirrored=True) == ALL
    assert resolved_strategy("dsa", mirrored=False) == "dsa:color-crop-cutout-scale-rotate"
    assert resolved_strategy("idc", mirrored=True) == "idc" + ALL.removeprefix("dsa")
    assert resolved_strategy("idc", mirrored=False) == "idc:color-crop-cutout-scale-rotate"


@pytest.mark.parametrize("mirrored", [True, False])
def test_listed_operations_are_only_sorted(mirrored: bool) -> None:
    assert resolved_strategy("dsa:rotate-flip-color", mirrored=mirrored) == "dsa:color-flip-rotate"
    assert resolved_strategy("idc:rotate-flip-color", mirrored=mirrored) == "idc:color-flip-rotate"
    for strategy in (*STRATEGIES, "noise-crop"):
        assert resolved_strategy(strategy, mirrored=mirrored) == strategy


def test_resolved_names_stay_as_they_are() -> None:
    for mirrored in (True, False):
        resolved = resolved_strategy("dsa", mirrored=mirrored)
        assert resolved_strategy(resolved, mirrored=not mirrored) == resolved


def test_operations_are_returned_in_order() -> None:
    assert siamese_operations("dsa:rotate-flip-color") == "color-flip-rotate"
    assert siamese_operations(ALL) == "-".join(SIAMESE_OPERATIONS)


@pytest.mark.parametrize("strategy", ["dsa", "idc", "none", "crop-scale"])
def test_names_without_siamese_operations_are_refused(strategy: str) -> None:
    with pytest.raises(
        InputError, match=rf"strategy '{strategy}' names no Siamese operations: spell them out"
    ):
        siamese_operations(strategy)
