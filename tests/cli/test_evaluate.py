from typing import Any

import pytest

from datacondense.cli.evaluate import describe
from datacondense.evaluation.protocol import ResolvedProtocol, Score


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"labels": "hard", "temperature": 1.0},
            "mlp, 9 epochs, augmentation idc:color, seed 0, float32, 5 test",
        ),
        (
            {"cutmix": 0.5, "labels": "soft", "temperature": 20.0},
            "augmentation idc:color with CutMix 0.5, soft labels at temperature 20, seed 0",
        ),
        ({"learned_steps": True}, "mlp, the set's own learned steps, seed 0"),
    ],
)
def test_a_line_tells_what_networks_were_trained_with(change: dict[str, Any], text: str) -> None:
    protocol = ResolvedProtocol(network="mlp", epochs=9, augmentation="idc:color", **change)
    tested_on, machine = {"num_images": 5}, {"precision": "float32"}
    score = Score(
        accuracies=(0.5,), protocol=protocol, trained_on="", tested_on=tested_on, environment=machine
    )
    assert text in describe(score)
