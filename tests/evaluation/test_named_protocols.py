"""Protocols by name, and what the learning rate does in them."""

from dataclasses import replace
from typing import Any

import pytest

from datacondense import (
    EvaluationConfig,
    ImageSet,
    InputError,
    evaluate,
    named_protocol,
)
from datacondense.evaluation.protocol import own_protocol


def rates(config: EvaluationConfig, epochs: int) -> list[float]:
    return [config.sgd(epoch, epochs).lr for epoch in range(epochs)]


def test_the_rate_drops_to_a_tenth_after_half_of_the_epochs() -> None:
    assert rates(EvaluationConfig(lr=0.1), 5) == [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.1]


def test_the_rate_of_idc_drops_to_a_fifth_after_two_thirds_and_five_sixths() -> None:
    expected = [1.0] * 4 + [0.2] + [0.2**2]
    assert rates(named_protocol("idc", lr=1.0), 6) == pytest.approx(expected)
    drops = [rates(named_protocol("idc", lr=1.0), 1000).index(0.2**number) for number in range(3)]
    assert drops == [0, 666, 833]


def test_a_rate_that_never_drops() -> None:
    assert rates(EvaluationConfig(lr=0.1, lr_drops=()), 4) == [0.1] * 4


def test_changes_stand_over_what_a_name_says() -> None:
    assert named_protocol("dc") == EvaluationConfig()
    assert named_protocol("dc-bench", repeats=2) == EvaluationConfig(epochs=300, repeats=2)
    ranking = named_protocol("dd-ranking")
    assert (ranking.epochs, ranking.batch_size, ranking.augmentation, ranking.labels) == (
        *(1000, 128),
        *("dsa", "hard"),
    )


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"There is no protocol 'best': choose from dc, dc-bench, dd-ranking, idc\."
    ):
        named_protocol("best")


@pytest.mark.parametrize(
    ("provenance", "name"),
    [
        ({"method": "idc"}, "idc"),
        ({"method": "gradient-matching", "settings": {"siamese": "idc:color-crop-cutout"}}, "idc"),
        ({"method": "gradient-matching", "settings": {"siamese": "dsa:color-crop-cutout"}}, "dc"),
        ({"method": "gradient-matching", "settings": {"siamese": None}}, "dc"),
        ({"method": "distribution-matching", "settings": {"siamese": "idc"}}, "dc"),
        ({"method": "gradient-matching"}, "dc"),
        ({}, "dc"),
    ],
)
def test_a_set_of_idc_is_scored_as_idc_does(tiny: ImageSet, provenance: dict[str, Any], name: str) -> None:
    assert own_protocol(replace(tiny, provenance=provenance)) == named_protocol(name)


def test_a_rate_that_was_learned_with_the_images_is_trained_with(tiny: ImageSet) -> None:
    learned = replace(tiny, provenance={"method": "datm", "learned": {"inner_lr": 0.03}})
    assert own_protocol(learned) == EvaluationConfig(lr=0.03)
    score = evaluate(learned, tiny, replace(own_protocol(learned), network="mlp", repeats=1, epochs=1))
    assert score.protocol.lr == 0.03
    tens = replace(tiny, provenance={"learned": {"inner_lr": [0.1, 0.2]}})  # Dataset Distillation's steps
    assert own_protocol(tens) == EvaluationConfig()
