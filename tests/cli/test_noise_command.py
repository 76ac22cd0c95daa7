"""`datacondense noise` from the command line to its page."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from datacondense.cli.main import main, parsed
from datacondense.cli.noise import Noise
from datacondense.tasks.workers import WorkersConfig

SIZE = ["--num-networks", "3", "--num-batches", "2", "--real-batch", "4"]
MACHINE = ["--engine", "eager", "--precision", "float32", "--backend", "inline", "--threads", "1"]


def command(out: Path, *options: str) -> list[str]:
    """Return the arguments of a small measurement."""
    return ["noise", "digits", "--out", str(out), "--networks", "convnet-w4-d1", *SIZE, *MACHINE, *options]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_measurement_is_written_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(tmp_path, "--variants", "none", "keep-magnitude:0.1")
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"2 tasks computed, 0 reused: {tmp_path / 'noise-digits-ipc1.md'}\n"
    before = files(tmp_path)
    assert set(before) == {f"noise-digits-ipc1.{ending}" for ending in ("md", "csv", "png")}
    page = before["noise-digits-ipc1.md"].decode()
    assert "R = 3 random networks of each architecture, D = 2 batches of 4 real images per class" in page
    assert "1 per class, initial noise" in page
    assert "| convnet-w4-d1 | keep-magnitude:0.1 | " in page
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(dict.fromkeys(printed.pop("parts")["variant"])) == ["none", "keep-magnitude:0.1"]
    for name in ("networks", "variants", "environments"):
        assert printed.pop(name)
    assert printed == {
        "files": [str(tmp_path / f"noise-digits-ipc1.{ending}") for ending in ("md", "csv", "png")],
        "computed": 0,
        "reused": 2,
        "failed": {},
        "blocked": 0,
    }
    assert files(tmp_path) == before


def test_a_transform_that_does_not_apply_fails_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--networks",
        "mlp",
        "--variants",
        "max-pool-1",
        "none",
        "--iterations",
        "1",
        "--label",
        "mine",
    ]
    assert main(command(tmp_path, *options)) == 1
    printed = capsys.readouterr()
    assert f"Failed: {tmp_path / 'cells'}" in printed.err
    assert "Failed tasks: 1; tasks not run because an input failed: 0." in printed.err
    page = (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert "| mlp | max-pool-1 | – | – | – | – |" in page
    assert "as plain matching with the same network learned them in 1 iterations" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-networks", "1"], "num_networks is 1"),
        (["--variants", "max"], "There is no gradient transform 'max'"),
        (["--transform", "max-pool-1"], "give --variants max-pool-1"),
        (["--networks", "convent"], "There is no network 'convent'"),
    ],
)
def test_wrong_values_are_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "out", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--networks", "mlp", "lenet", "--variants", "none", "max-pool-1+keep-magnitude:0.1", "--seed", "3"],
        ["--iterations", "20", "--ipc", "10", "--start", "real", "--resize", "16", "--num-batches", "4"],
    ],
)
def test_the_command_on_the_page_gives_the_same_measurement(options: list[str]) -> None:
    given = parsed(["noise", "mnist", "--out", "OUT", "--jobs", "2", *options])
    assert isinstance(given, Noise)
    _, *words = shlex.split(given.command())
    again = parsed(words)
    assert again == replace(given, workers=WorkersConfig())


def test_files_are_named_after_what_was_measured() -> None:
    given = parsed(["noise", "sets/mine.npz", "--out", "OUT", "--ipc", "10", "--iterations", "20"])
    assert isinstance(given, Noise)
    assert given.stem == "noise-mine-ipc10-iterations20"
    assert replace(given, label="mine").stem == "mine"
