"""Names of gradient transforms: how they are read, written again and refused."""

import pytest

from datacondense.errors import InputError
from datacondense.matching.transforms import parse_transform


@pytest.mark.parametrize(
    ("name", "kind", "value", "written"),
    [
        ("max-pool-1", "max-pool-1", 0, "max-pool-1"),
        ("abs-max-pool-2", "abs-max-pool-2", 0, "abs-max-pool-2"),
        ("keep-magnitude:0.0025", "keep-magnitude", 0.0025, "keep-magnitude:0.0025"),
        ("keep-magnitude:.10", "keep-magnitude", 0.1, "keep-magnitude:0.1"),
        ("keep-stable-global:1.0", "keep-stable-global", 1, "keep-stable-global:1"),
        ("keep-sensitive:1e-9", "keep-sensitive", 1e-9, "keep-sensitive:1e-09"),
        ("keep-snr:2.50", "keep-snr", 2.5, "keep-snr:2.5"),
        ("wiener:08", "wiener", 8, "wiener:8"),
        ("wiener", "wiener", 4, "wiener:4"),
    ],
)
def test_a_name_is_read_and_equal_ones_are_written_alike(
    name: str, kind: str, value: float, written: str
) -> None:
    parsed = parse_transform(name)
    assert parsed == (kind, value)
    assert str(parsed) == written
    assert parse_transform(written) == parsed


UNKNOWN = [
    "",
    "max",
    "max-pool-3",
    "max-pool-1:2",
    "max-pool-1:",
    "min-pool-1",
    "keep",
    "keep-snr-global:1",
    "wiener-global:4",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_are_answered_with_all_known_ones(name: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_transform(name)
    said = str(refusal.value)
    assert said.startswith(
        f"There is no gradient transform {name!r}: choose from max-pool-1, max-pool-2, mean-"
    )
    assert said.endswith(
        "keep-sensitive:FRACTION, keep-sensitive-global:FRACTION, keep-snr:RATIO, wiener:SUBBATCHES, or give your own "
        "as package.module:name."
    )


@pytest.mark.parametrize(
    "number", ["", ":", ":0", ":-0.1", ":1.001", ":inf", ":nan", ":half", ":10%", ":0:1"]
)
@pytest.mark.parametrize("mask", ["keep-magnitude", "keep-stable", "keep-sensitive-global"])
def test_a_mask_needs_a_fraction(mask: str, number: str) -> None:
    with pytest.raises(
        InputError, match=r"must say which fraction of the entries it keeps, above 0 and at most"
    ):
        parse_transform(mask + number)


@pytest.mark.parametrize("number", ["", ":0", ":-1", ":inf", ":nan", ":much"])
def test_keep_snr_needs_a_ratio(number: str) -> None:
    with pytest.raises(InputError, match=r"'keep-snr.*' must say a ratio above 0, as in keep-snr:1\."):
        parse_transform(f"keep-snr{number}")


@pytest.mark.parametrize("number", ["0", "1", "-4", "2.5", "inf", "nan", "four", "1e400"])
def test_wiener_needs_at_least_two_sub_batches(number: str) -> None:
    with pytest.raises(
        InputError, match=r"'wiener:.*' must say a whole number of sub-batches from 2 on, as in "
    ):
        parse_transform(f"wiener:{number}")
