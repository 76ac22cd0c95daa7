"""What a command writes never takes the place of what it reads, nor of what somebody else made."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datacondense.cli.demo import Demo
from datacondense.cli.main import main
from datacondense.cli.tasks import check_stem
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from tests.conftest import make_set

QUICK = ["--iterations", "1", "--device", "cpu", "--threads", "1"]
STUDY = [*QUICK, "--backend", "inline", "--seeds", "1", "--repeats", "1", "--epochs", "1"]


def everything(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set, a run, an export and a picture, in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_set().save(Path("sets/own.safetensors"))
    make_set().save(Path("run/condensed.safetensors"))
    words = ["export", "sets/own.safetensors", "--format", "image-folder", "--out", "export", "--quiet"]
    assert main(words) == 0
    Path("holiday.png").write_text("a picture")
    Path("link").symlink_to("sets")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "show sets/own.safetensors --out sets/own.safetensors --force",
            "sets/own.safetensors is or holds sets/own.safetensors, which is read: give another --out.",
        ),
        (
            "show sets/own.safetensors --out link/own.safetensors --force",
            "which is read: give another --out.",
        ),
        ("show run --out run/condensed.safetensors --force", "which is read: give another --out."),
        (
            "show export --out export/new.png",
            "export/new.png lies in export, which is read: give another --out.",
        ),
        ("show export --out export/train/class_0/00000.png --force", "lies in export, which is read"),
        ("show run --out holiday.png", "holiday.png exists: give another --out, or --force to replace it."),
        ("show run --out sets --force", "sets is a folder, but a file is to be written there"),
        (
            "export sets/own.safetensors --format npz --out sets --force",
            "sets is or holds sets/own.safetensors",
        ),
        (
            "export sets/own.safetensors --format npz --out link --force",
            "link is or holds sets/own.safetensors",
        ),
        (
            "export run --format npz --out run --force",
            "run is or holds run, which is read: give another --out.",
        ),
        ("export export --format npz --out export --force", "export is or holds export, which is read"),
        ("export run --format npz --out . --force", ". is or holds run, which is read"),
    ],
)
def test_an_input_is_never_replaced(
    command: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(folder)
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert everything(folder) == before


def test_show_replaces_a_file_with_force(folder: Path) -> None:
    assert main(["show", "run", "--out", "holiday.png", "--force", "--quiet"]) == 0
    assert (folder / "holiday.png").read_bytes().startswith(b"\x89PNG")


def test_show_writes_what_the_suffix_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "run", "--out", "new.jpg"]) == 0
    with Image.open("new.jpg") as picture:
        assert picture.format == "JPEG"
    capsys.readouterr()
    assert main(["show", "run", "--out", "new.txt"]) == 2
    assert (
        "new.txt ends in .txt, which is no picture's: give a name in .png, .jpg," in capsys.readouterr().err
    )
    assert not Path("new.txt").exists()


@pytest.mark.parametrize("label", ["a/b", "../x", "..", "", ".hidden", "back\\slash", "bell\x07", "l" * 201])
@pytest.mark.parametrize("command", ["study depth digits", "noise digits", "compare digits"])
def test_labels_are_names_of_files(
    command: str, label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--out", str(tmp_path / "out"), "--label", label]) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: The files would be called '")
    assert (
        "a name has no separators or control characters, no dot in front and 200 bytes at most: give --label"
        in said
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["search digits", "evaluate a.safetensors --on digits --standard"])
def test_an_empty_label_is_no_default(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--out", str(tmp_path / "out"), "--label", ""]) == 2
    assert "The files would be called ''" in capsys.readouterr().err


def test_a_study_replaces_its_own_files_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "depth-digits-ipc1.csv").write_text("mine")
    (tmp_path / "depth.md").write_text("mine")
    command = ["study", "depth", "digits", "--out", str(tmp_path), "--rows", "ConvNet 1", *STUDY]
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"datacondense: {tmp_path}/depth-digits-ipc1.csv exists, and no study was run in {tmp_path}: give another "
        "--out, or another --label.\n"
    )
    assert sorted(everything(tmp_path)) == ["depth-digits-ipc1.csv", "depth.md"]


def test_names_of_files_beside_tasks_are_a_studys_own(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("mine")
    (tmp_path / "other.md").write_text("mine")
    check_stem("new", tmp_path)
    check_stem("oth", tmp_path)
    check_stem("new", tmp_path / "missing")
    with pytest.raises(InputError, match=r"mine\.md exists, and no study was run in"):
        check_stem("mine", tmp_path)
    (tmp_path / "cells").mkdir()
    check_stem("mine", tmp_path)
    check_stem("Größe 猫 (2)", tmp_path)


@pytest.mark.parametrize(
    "name", ["condensed.png", "condensed.safetensors", "checkpoint.safetensors", "metrics.jsonl"]
)
def test_a_demo_replaces_nothing_of_somebody_elses(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert main(["demo", "--out", str(tmp_path), "--repeats", "2", *QUICK]) == 2
    assert f"{tmp_path / name} exists and is no earlier demo's: give another --out" in capsys.readouterr().err
    assert everything(tmp_path) == {name: b"mine"}


def test_a_demo_replaces_a_demo_and_no_other_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacondense.cli.demo.EvaluationConfig", partial(EvaluationConfig, epochs=2))
    demo = ["demo", "--out", str(tmp_path / "demo"), "--repeats", "2", "--quiet", *QUICK]
    assert main(demo) == 0
    before = everything(tmp_path)
    assert main([*demo, "--seed", "1"]) == 0
    after = everything(tmp_path)
    for name in ("condensed.png", "condensed.safetensors"):
        assert before[f"demo/{name}"] != after[f"demo/{name}"]

    run = [
        "condense",
        "digits",
        "--out",
        str(tmp_path / "run"),
        "--network",
        "mlp",
        "--real-batch",
        "4",
        *QUICK,
    ]
    assert main([*run, "--quiet"]) == 0
    before = everything(tmp_path / "run")
    assert main(["demo", "--out", str(tmp_path / "run"), *QUICK]) == 2
    assert "exists and is no earlier demo's" in capsys.readouterr().err
    assert everything(tmp_path / "run") == before


def test_a_demo_beside_files_that_it_does_not_write(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    Demo(out=tmp_path)._check_out()


def test_a_selection_never_replaces_its_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "features.npy"
    np.save(path, np.zeros((1442, 4), np.float32))
    command = [
        "select",
        "digits",
        "--method",
        "herding",
        "--features",
        str(path),
        "--out",
        str(path),
        "--force",
    ]
    assert main(command) == 2
    assert "which is read: give another --out" in capsys.readouterr().err
    assert np.load(path).shape == (1442, 4)
