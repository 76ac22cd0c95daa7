"""What may be asked about gradient noise, and what is refused in a sentence."""

from typing import Any

import pytest

from datacondense.condensation import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies.noise_config import NoiseConfig, variant_settings


def test_a_variant_is_none_or_transforms_in_order() -> None:
    assert variant_settings("none") == {"transform": (), "join_classes": False}
    both = {"transform": ("max-pool-1", "keep-magnitude:0.1"), "join_classes": True}
    assert variant_settings("max-pool-1+keep-magnitude:0.1") == {**both, "join_classes": False}
    assert variant_settings("max-pool-1+join-classes+keep-magnitude:0.1") == both
    assert variant_settings("join-classes") == {"transform": (), "join_classes": True}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_networks": 1}, "num_networks is 1, but must be 2 or more"),
        ({"num_batches": 1}, "num_batches is 1, but must be 2 or more"),
        ({"draws": -1}, "draws is -1, but must be 0 or more"),
        ({"seed": -1}, "seed is -1, but must be 0 or more"),
        ({"networks": ()}, "networks is empty: give one or more"),
        ({"variants": ("none", "none")}, "variants has 'none' twice"),
        ({"variants": ("maximum",)}, "There is no gradient transform 'maximum'"),
        ({"variants": ("none+max-pool-1",)}, "There is no gradient transform 'none'"),
        (
            {"method": GradientMatchingConfig(transform=("max-pool-1", "wiener"))},
            r"give --variants max-pool-1\+wiener",
        ),
        ({"method": GradientMatchingConfig(join_classes=True)}, "give --variants join-classes"),
        ({"method": GradientMatchingConfig(network="lenet")}, "give --networks lenet"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        NoiseConfig(**values)
