"""What was made before goes on, loads and is read: an earlier state of release 0.1.0 wrote `tests/golden/before`."""

import json
import shutil
from pathlib import Path

import pytest

from datacondense.cli.main import main
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.environment import environment
from datacondense.image_set import ImageSet
from datacondense.renamed import former_task
from datacondense.run_folder import RunFolder
from tests.conftest import make_set

BEFORE = Path(__file__).with_name("golden") / "before"
FINGERPRINT = "01a7fafc1cf3719f"  # of the run that nothing broke, by the same release
METHOD = GradientMatchingConfig(
    ipc=2,
    network="convnet-w4-d1",
    matching_steps=3,
    network_epochs=2,
    real_batch=5,
    precision="float64",
    class_collective=True,
    iterate_averaging=True,
)
RUN = RunConfig(seed=7, iterations=2, checkpoint_every=0)


def copied(name: str, to: Path) -> Path:
    """Copy a run, and say that it was made in this environment: in another one it may not be continued."""
    folder = Path(shutil.copytree(BEFORE / name, to / name))
    settings = json.loads((folder / "settings.json").read_text())
    settings["environment"] |= environment("cpu")
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def test_a_run_is_continued(tmp_path: Path) -> None:
    folder = copied("run", tmp_path)
    condensed = condense(make_set(), METHOD, RUN, directory=folder, resume=True)
    assert condensed.fingerprint == FINGERPRINT
    log = RunFolder(folder).metrics()
    assert [(entry["iteration"], entry["step"]) for entry in log] == [
        (d, s) for d in range(2) for s in range(3)
    ]


def test_a_finished_run_is_read(tmp_path: Path) -> None:
    folder = copied("finished", tmp_path)
    condensed = condense(make_set(), METHOD, RUN, directory=folder, resume=True)
    assert condensed.fingerprint == FINGERPRINT
    assert condensed.provenance["iterations_done"] == 2


def test_a_set_is_loaded() -> None:
    images = ImageSet.load(BEFORE / "finished" / "condensed.safetensors")
    assert images.fingerprint == FINGERPRINT
    assert images.provenance["settings"]["class_collective"] is True


@pytest.mark.filterwarnings("ignore")
def test_a_study_finds_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(BEFORE / "study", tmp_path / "study"))
    options = (
        "--seeds 1 --repeats 1 --draws 3 --precision float32 --engine eager --backend inline --threads 1"
    )
    command = ["study", str(folder / "tiny.toml"), "digits", *options.split()]
    assert main([*command, "--out", str(folder / "out")]) == 0
    printed = capsys.readouterr()
    assert "0 tasks computed, 4 reused" in printed.out
    assert "--draws is now --iterations" in printed.err


def test_an_old_run_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(BEFORE / "run")]) == 0
    assert "2 begun of 2" in capsys.readouterr().out


@pytest.mark.parametrize(("tag", "name"), [("CondenseCell", "images"), ("mine:OwnCell", "data")])
def test_settings_of_tasks_of_ones_own_had_no_other_names(tag: str, name: str) -> None:
    described = {"cell": tag, "settings": {"data": "digits"}, "inputs": []}
    assert former_task(described)["settings"] == {name: "digits"}
