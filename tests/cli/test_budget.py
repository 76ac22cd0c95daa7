"""`condense --budget`: presets, options that stand, resumed plans, early stopping."""

import json
from pathlib import Path
from typing import Any

import pytest

from datacondense.cli.main import main
from datacondense.condensation import presets
from datacondense.image_set import ImageSet

# At 16 pixels, which four tiles have room in.
NETWORK = ["--network", "convnet-w4-d1", "--threads", "1", "--device", "cpu", "--resize", "16"]
TABLE: list[dict[str, Any]] = [
    {
        "name": "made",
        "devices": ["cpu"],
        "channels": [],
        "max_ipc": 9,
        "budget": 0,
        "method": "distribution-matching",
        "settings": {"real_batch": 5, "factor": 2},
        "iterations": 3,
        "why": "it is cheap",
    }
]


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "presets", lambda: TABLE)


def condensed(folder: Path, *options: str) -> ImageSet:
    assert main(["condense", "digits", "--out", str(folder), *NETWORK, *options]) == 0
    return ImageSet.load(folder / "condensed.safetensors")


def test_fast_is_the_default_and_says_what_it_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = condensed(tmp_path / "run").provenance
    assert (
        "--method distribution-matching --real-batch 5 --factor 2 --iterations 3: it is cheap. "
        "--budget published runs the published schedule." in capsys.readouterr().err
    )
    assert found["method"] == "distribution-matching"
    assert (found["settings"]["real_batch"], found["iterations_done"]) == (5, 3)
    kept = {"name": "made", "budget": "fast", "settings": {"real_batch": 5, "factor": 2}}
    assert found["run"]["preset"] == kept


def test_options_that_are_given_stand(tmp_path: Path) -> None:
    found = condensed(tmp_path / "run", "--real_batch=256", "--iterations", "2").provenance
    assert (found["settings"]["real_batch"], found["settings"]["factor"]) == (256, 2)
    assert found["iterations_done"] == 2
    assert found["run"]["preset"]["settings"] == {"factor": 2}


def test_an_option_of_gradient_matching_selects_it(tmp_path: Path) -> None:
    found = condensed(tmp_path / "run", "--distance", "squared", "--iterations", "1", "--real-batch", "4")
    assert found.provenance["method"] == "gradient-matching"
    assert "preset" not in found.provenance["run"]


def test_published_is_the_published_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = condensed(tmp_path / "run", "--budget", "published", "--time-limit", "0.01s").provenance
    assert (found["method"], found["run"]["iterations"]) == ("gradient-matching", 1000)
    assert found["settings"]["real_batch"] == 256
    assert "preset" not in found["run"]
    assert "published" not in capsys.readouterr().err


def test_a_resumed_run_keeps_its_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = condensed(tmp_path / "unbroken", "--iterations", "4")
    begun = condensed(tmp_path / "run", "--budget", "100s", "--iterations", "2")
    assert begun.provenance["settings"]["factor"] == 2
    monkeypatch.setattr(presets, "presets", list)  # of another release
    command = ["--resume", "--iterations", "4", "--budget", "100s"]
    again = condensed(tmp_path / "run", *command)
    assert again.fingerprint == whole.fingerprint
    # No number of iterations is given now, and nothing is timed: the finished run is found.
    monkeypatch.setattr(presets, "iterations_within", None)
    assert condensed(tmp_path / "run", "--resume", "--budget", "100s").fingerprint == whole.fingerprint


def test_a_run_whose_settings_are_all_given_goes_on_by_its_own_command(tmp_path: Path) -> None:
    given = ["--real-batch", "5", "--factor", "2", "--iterations", "1"]
    begun = condensed(tmp_path / "run", *given)
    assert "preset" not in begun.provenance["run"]
    assert begun.provenance["method"] == "distribution-matching"
    assert condensed(tmp_path / "run", *given, "--resume").provenance == begun.provenance


def test_a_finished_run_within_a_time_is_found_again(tmp_path: Path) -> None:
    begun = condensed(tmp_path / "run", "--budget", "1s")
    assert begun.provenance["run"]["iterations"] > 1
    assert condensed(tmp_path / "run", "--budget", "1s", "--resume").provenance == begun.provenance


def test_the_best_candidate_is_learned_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = [0.4, 0.3, 0.6, 0.5]

    def searched(tried: list[Any], *_: Any, observer: Any, **__: Any) -> list[Any]:
        pairs = zip(tried, accuracies, strict=True)
        found = [{"method": "dm", "settings": dict(each.settings), "accuracy": a} for each, a in pairs]
        observer(found[0])
        return found

    monkeypatch.setattr("datacondense.cli.condense.search", searched)
    command = ["--budget", "1s", "--tune", "--iterations", "2"]
    found = condensed(tmp_path / "run", *command).provenance
    assert found["settings"]["image_lr"] == 2.0
    assert [each["accuracy"] for each in found["run"]["preset"]["search"]] == accuracies
    said = capsys.readouterr().err
    assert "--method dm --real-batch 5 --factor 2: 40.00 % on held-out training images" in said
    assert "--image-lr 2.0 --iterations 2: the best of 4 on held-out training images" in said
    monkeypatch.setattr("datacondense.cli.condense.search", None)
    assert condensed(tmp_path / "run", *command, "--resume").provenance == found


def test_a_search_needs_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["condense", "digits", "--out", str(tmp_path / "run"), "--tune"]) == 2
    assert capsys.readouterr().err == (
        "datacondense: tune searches within a time, but budget is 'fast': give one such as --budget 10m.\n"
    )


def test_a_record_names_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    condensed(tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    settings = json.loads(path.read_text())
    settings["run"]["preset"]["settings"] = {"network": "os:getcwd"}
    path.write_text(json.dumps(settings))
    assert main(["condense", "digits", "--out", str(tmp_path / "run"), "--threads", "1", "--resume"]) == 2
    assert "cannot be resumed with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("budget", ["abc", "0s"])
def test_what_is_no_budget_is_refused(
    budget: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["condense", "digits", "--out", str(tmp_path / "run"), "--budget", budget]) == 2
    assert capsys.readouterr().err == (
        f"datacondense: budget is {budget!r}, but must be fast, published or a number above 0 with a unit "
        "(s, m, h, d) as in 10m.\n"
    )
    assert not (tmp_path / "run").exists()


def test_early_stopping_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "datacondense.condensation.loop._Loop._is_stalled", lambda loop: bool(loop._accuracies)
    )
    options = ["--validate-every", "2", "--validation-fraction", "0.1", "--validation-networks", "2"]
    found = condensed(tmp_path / "run", *options, "--patience", "1", "--iterations", "8")
    assert found.provenance["iterations_done"] == 2
    said = capsys.readouterr()
    assert "iteration 2: validation accuracy " in said.err
    assert ", no better than before: stopped early" in said.err
    assert "after 2 iterations and " in said.out
