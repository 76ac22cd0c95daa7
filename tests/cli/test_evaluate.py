"""What `datacondense evaluate` tells of a score, and of a standard evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from datacondense.cli import standard
from datacondense.cli.evaluate import describe
from datacondense.cli.main import main
from datacondense.evaluation.protocol import ResolvedProtocol, Score
from datacondense.studies.running import Run
from datacondense.studies.standard import OWN, SET
from datacondense.tasks.scheduler import Outcome
from tests.reports.made_studies import of_sets, scores, study


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


def test_scores_that_nobody_knows_are_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    protocols = (OWN, "hard, dsa, mlp")
    entries = {(row, column): of_sets(60.0) for row in (SET, "random") for column in protocols}
    result = study(entries, full=scores(90), rows=(SET, "random"), columns=protocols)
    monkeypatch.setattr(standard, "standard", lambda *_: None)
    monkeypatch.setattr(standard, "run_study", lambda *_, **__: Run(result, Outcome((), (), {}, ())))
    words = ["evaluate", "a.safetensors", "--on", "digits", "--standard", "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert 0 < record["lrs"] < 1
    assert record["ars"] is None
    assert "ARS: unknown" in (tmp_path / "standard-a.md").read_text(encoding="utf-8")


def test_a_standard_evaluation_needs_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--on", "digits", "--standard", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "datacondense: No set is given: name at least one.\n"
