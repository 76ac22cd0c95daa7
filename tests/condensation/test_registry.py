"""The registry of methods: their names, and what runs where none is given."""

import pytest

from datacondense import ImageSet, InputError, RunConfig, condense
from datacondense.condensation.registry import ABBREVIATIONS, METHODS, method_name


def test_every_method_has_settings_of_its_own() -> None:
    assert set(ABBREVIATIONS.values()) < set(METHODS)
    assert len(set(METHODS.values())) == len(METHODS)


def test_gradient_matching_runs_where_no_method_is_given(tiny: ImageSet) -> None:
    record = condense(tiny, run=RunConfig(time_limit="0.01s")).provenance
    assert record["method"] == "gradient-matching"
    assert record["settings"]["siamese"] == "none"


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("dc", "gradient-matching"),
        ("dsa", "siamese-matching"),
        ("dm", "distribution-matching"),
        ("dd", "dataset-distillation"),
        *((name, name) for name in METHODS),
    ],
)
def test_names_and_abbreviations_name_a_method(given: str, spelled: str) -> None:
    assert method_name(given) == spelled


@pytest.mark.parametrize("name", ["foo", "DC", ""])
def test_an_unknown_name_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(
        InputError,
        match=rf"^There is no method '{name}': choose from gradient-matching \(dc\), siamese-matching \(dsa\), "
        r"idc, distribution-matching \(dm\), parameter-matching, dataset-distillation \(dd\), "
        r"or give package\.module:Class\.$",
    ):
        method_name(name)
