"""Watching a run from the command line: the options of `condense`, and `info --watch`."""

import time
from pathlib import Path

import pytest
from PIL import Image

from datacondense import ImageSet
from datacondense.cli.main import main
from datacondense.cli.watching import watch
from datacondense.run_folder import RunFolder
from tests.condensation.made_runs import METHOD, RUN, break_run

CONDENSE = [
    "condense",
    "digits",
    "--budget",
    "published",
    "--network",
    "convnet-w4-d1",
    "--real-batch",
    "8",
    "--iterations",
    "2",
    "--quiet",
]


def test_a_run_is_followed_by_table_tensorboard_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    out, table, logs = tmp_path / "out", tmp_path / "run.csv", tmp_path / "logs"
    options = ["--csv", str(table), "--tensorboard", str(logs), "--picture-every", "1"]
    assert main([*CONDENSE, "--out", str(out), *options]) == 0
    assert len(table.read_text().splitlines()) == 3
    assert [path.name.split(".")[0] for path in logs.iterdir()] == ["events"]
    with Image.open(out / "live.png") as picture:
        assert picture.width > 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "OUT/condensed.safetensors"], "is a file of the run: give another --csv"),
        (["--csv", "OUT/metrics.jsonl"], "is a file of the run: give another --csv"),
        (["--picture-every", "-1"], "picture_every is -1, but must be 0 or more"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*CONDENSE, "--out", str(out), *(word.replace("OUT", str(out)) for word in options)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_watching_ends_when_no_process_goes_on(
    tiny: ImageSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_run(tiny, METHOD, RUN, tmp_path / "run", at=(1, 0))
    assert main(["info", str(tmp_path / "run"), "--watch"]) == 0
    assert "unfinished, continue with --resume" in capsys.readouterr().out


def test_watching_shows_each_step_until_the_run_is_finished(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, out = tiny, tmp_path / "run"
    break_run(train, METHOD, RUN, out, at=(1, 0))
    folder = RunFolder(out)
    said: list[str] = []

    def go_on(seconds: float) -> None:  # what another process does while this one sleeps
        if said[-1].startswith("iteration 2 of 2, loss 7, "):
            folder.result.touch()
        else:
            folder.log(iteration=1, step=1, loss=7.0, seconds=61.0)

    monkeypatch.setattr(time, "sleep", go_on)
    with folder.claimed():
        watch(folder, lambda done, total, text: said.append(text))
    assert [text.split(",")[0] for text in said] == ["iteration 2 of 2", "iteration 2 of 2"]
    assert said[-1] == "iteration 2 of 2, loss 7, 1 min 01 s"
