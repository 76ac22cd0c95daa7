"""Settings of gradient noise, and the messages for wrong ones."""

from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies.noise import NoiseConfig, variant_settings


def test_a_variant_is_none_or_transforms_in_order() -> None:
    assert variant_settings("none") == {"transform": (), "class_collective": False}
    both = {"transform": ("max-pool-1", "keep-magnitude:0.1"), "class_collective": True}
    assert variant_settings("max-pool-1+keep-magnitude:0.1") == {**both, "class_collective": False}
    assert variant_settings("max-pool-1+class-collective+keep-magnitude:0.1") == both
    assert variant_settings("class-collective") == {"transform": (), "class_collective": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_networks": 1}, "num_networks is 1, but must be 2 or more"),
        ({"num_batches": 1}, "num_batches is 1, but must be 2 or more"),
        ({"iterations": -1}, "iterations is -1, but must be 0 or more"),
        ({"seed": -1}, "seed is -1, but must be 0 or more"),
        ({"networks": ()}, "networks is empty: give at least one"),
        ({"variants": ("none", "none")}, "variants has 'none' twice"),
        ({"variants": ("maximum",)}, "There is no gradient transform 'maximum'"),
        ({"variants": ("none+max-pool-1",)}, "There is no gradient transform 'none'"),
        (
            {"method": GradientMatchingConfig(transform=("max-pool-1", "wiener"))},
            r"give --variants max-pool-1\+wiener",
        ),
        ({"method": GradientMatchingConfig(class_collective=True)}, "give --variants class-collective"),
        ({"method": GradientMatchingConfig(network="lenet")}, "give --networks lenet"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NoiseConfig(**values)
