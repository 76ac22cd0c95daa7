"""Condensed sets that come with the library."""

import json
from pathlib import Path

import pytest

from datacondense import EvaluationConfig, InputError, evaluate, load, load_condensed, select_random

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "condensed-digits.json"
ROWS = {f"digits-{row['ipc']}": row for row in json.loads(RECORD.read_text(encoding="utf-8"))["rows"]}


@pytest.mark.parametrize("name", ["digits-1", "digits-10"])
def test_sets_load_and_are_those_of_the_record(name: str) -> None:
    condensed, row = load_condensed(name), ROWS[name]
    assert condensed.class_sizes == (row["ipc"],) * 10
    assert condensed.image_shape == (1, 8, 8)
    assert condensed.fingerprint == row["fingerprint"]


def test_provenance_says_how_a_set_was_made() -> None:
    provenance = load_condensed("digits-10").provenance
    assert provenance["method"] == "distribution-matching"
    assert provenance["source"]["name"] == "digits"
    assert provenance["iterations_done"] == ROWS["digits-10"]["iterations"]


def test_an_unknown_set_is_answered_with_all_known_ones() -> None:
    with pytest.raises(
        InputError,
        match=r"No condensed set 'mnist-1' comes with datacondense: give one of digits-1, digits-10\.",
    ):
        load_condensed("mnist-1")


@pytest.mark.parametrize("name", ["../condensed/digits-1", "", "digits-1.safetensors"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(InputError, match="No condensed set"):
        load_condensed(name)


@pytest.mark.parametrize(
    ("ipc", "augmentation", "epochs", "margin"), [(1, "none", 100, 0.1), (10, "dsa", 300, 0.0)]
)
def test_networks_learn_more_from_a_set_than_from_as_many_random_images(
    ipc: int, augmentation: str, epochs: int, margin: float
) -> None:
    digits = load("digits")
    assert digits.test is not None
    protocol = EvaluationConfig(network="convnet-w32-d2", repeats=1, epochs=epochs, augmentation=augmentation)
    condensed = evaluate(load_condensed(f"digits-{ipc}"), digits.test, protocol).mean
    randoms = [
        evaluate(select_random(digits.train, ipc, seed), digits.test, protocol).mean for seed in (0, 1)
    ]
    assert condensed > max(randoms) + margin
