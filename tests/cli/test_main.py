"""The command line in process: whole sentences, exit codes, files."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datacondense.cli.main import main
from datacondense.image_set import ImageSet
from tests.conftest import MakeSet

TINY = [
    "--network",
    "mlp",
    "--iterations",
    "3",
    "--real-batch",
    "4",
    "--device",
    "cpu",
    "--budget",
    "published",
]


@pytest.fixture
def dataset(tmp_path: Path, make: MakeSet) -> str:
    """Write a tiny data set as npz and give its path."""
    train, test = make(), make(seed=5)
    path = tmp_path / "tiny.npz"
    np.savez(
        path,
        x_train=train.images[:, 0].numpy(),
        y_train=train.labels.numpy(),
        x_test=test.images[:, 0].numpy(),
        y_test=test.labels.numpy(),
    )
    return str(path)


@pytest.fixture
def run(dataset: str, tmp_path: Path) -> Path:
    """Condense the tiny data set and give the run's folder."""
    assert main(["condense", dataset, "--ipc", "1", "--out", str(tmp_path / "run"), "--quiet", *TINY]) == 0
    return tmp_path / "run"


def test_condense_says_what_it_made_and_what_to_do_next(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["condense", dataset, "--ipc", "2", "--seed", "7", "--out", str(out), *TINY]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("6 images (2 for each of 3 classes) after 3 iterations and ")
    assert said[0].endswith(f"{out}/condensed.safetensors")
    assert said[1] == f"Score it:   datacondense evaluate {out}/condensed.safetensors --on {dataset}"
    condensed = ImageSet.load(out / "condensed.safetensors")
    assert condensed.provenance["run"]["seed"] == 7
    assert condensed.provenance["settings"]["network"] == "mlp"


def test_the_whole_way_in_json(
    run: Path, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--repeats", "2", "--epochs", "3", "--json", "--device", "cpu"]
    assert main(["evaluate", str(run), "--on", dataset, *quick]) == 0
    score = json.loads(capsys.readouterr().out)
    assert score["n"] == 2
    assert len(score["accuracies"]) == 2
    assert score["protocol"]["network"] == "mlp"

    for kind in ("image-folder", "parquet", "npz"):
        target = tmp_path / kind
        assert main(["export", str(run), "--format", kind, "--out", str(target), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_images"] == 3
        assert main(["evaluate", str(target), "--on", dataset, *quick]) == 0
        assert json.loads(capsys.readouterr().out)["rounding_cost"]["n"] == 2

    assert main(["show", str(run), "--out", str(tmp_path / "set.png")]) == 0
    assert (tmp_path / "set.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["info", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["run"]["status"] == "finished"
    assert facts["set"]["images"] == 3


def test_sentences_for_people(
    run: Path, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["evaluate", str(run), "--on", dataset, "--repeats", "2", "--epochs", "3", "--device", "cpu"])
        == 0
    )
    assert (
        " % (n = 2): mlp, 3 epochs, augmentation none, seed 0, float32, 36 test images"
        in capsys.readouterr().out
    )
    assert main(["export", str(run), "--format", "npz", "--out", str(tmp_path / "npz")]) == 0
    assert "% of the pixels were below 0 and" in capsys.readouterr().out
    assert main(["info", str(run)]) == 0
    assert "status: finished" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "npz"), "--on", dataset, "--repeats", "2", "--epochs", "3"]) == 0
    assert "Rounding to 8 bits changed the accuracy by" in capsys.readouterr().out


def test_quiet_says_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert (run / "condensed.safetensors").exists()


def test_resume_of_a_finished_run_and_force(
    run: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "condensed.safetensors").read_bytes()
    command = ["condense", dataset, "--out", str(run), *TINY]
    assert main(command) == 2
    assert "holds a finished run: give another folder (--out), or --force" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert main([*command, "--seed", "9", "--force"]) == 0
    assert (run / "condensed.safetensors").read_bytes() != before


def test_validation_accuracy_is_shown(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--validate-every", "3", "--validation-networks", "2", "--validation-fraction", "0.25"]
    assert main(["condense", dataset, "--out", str(tmp_path / "run"), *options, *TINY]) == 0
    assert "iteration 3: validation accuracy " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["condense", "minst", "--out", "{tmp}/x"], "minst"),
        (["condense", "{data}", "--out", "{tmp}/x", "--ipc", "0"], "ipc is 0, but must be 1 or more"),
        (["condense", "{data}", "--out", "{tmp}/x", "--start", "real", "--ipc", "13"], "has only 12 images"),
        (["condense", "{data}", "--out", "{tmp}/x", "--network", "convnt"], "convnt"),
        (["condense", "{data}", "--out", "{tmp}/x", "--threads", "0"], "threads is 0, but must be 1 or more"),
        (["condense", "{data}", "--out", "{tmp}/x", "--device", "abacus"], "'abacus' cannot be used here"),
        (["condense", "{data}", "--out", "{tmp}/x", "--device", "meta"], "'meta' cannot be used here"),
        (["condense", "{data}", "--out", "{tmp}/x", "--temperature", "2"], "give --soft-labels too"),
        (["condense", "{data}", "--out", "{tmp}/x", "--validate-every", "1"], "no validation images"),
        (
            ["condense", "{data}", "--out", "{tmp}/x", "--validation-fraction", "1"],
            "must be at least 0 and below 1",
        ),
        (["condense", "{data}", "--out", "{data}", "--real-batch", "4"], "cannot be written (File exists)"),
        (["evaluate", "{tmp}/none", "--on", "{data}"], "There is no file"),
        (["evaluate", "{tmp}", "--on", "{data}"], "holds neither a run nor an export"),
        (["show", "{data}", "--out", "{tmp}/x.png"], "is a pickle"),
        (["info", "{tmp}"], "holds neither a run nor an export"),
        (["demo", "--repeats", "1", "--out", "{tmp}/x"], "repeats is 1, but a comparison needs 2"),
    ],
)
def test_wrong_input_gets_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(tmp=tmp_path, data=dataset) for argument in arguments]
    assert main(filled) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert message in said
    assert "Traceback" not in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("wrong", ["\x1b[31mred\x1b[0m", "--\x1b]0;title\x07", "--" + "x" * 100_000])
def test_a_wrong_option_is_repeated_escaped_and_cut(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["info", "a", wrong])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert 0 < len(said) < 5000
    assert all(letter == "\n" or letter.isprintable() for letter in said)


def test_the_state_of_a_run_of_another_kind_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "copy"))
    for settings in ("{}", '{"run": {}}', '{"run": {"iterations": null}}'):
        (folder / "settings.json").write_text(settings)
        assert main(["info", str(folder)]) == 0
        assert " begun\n" in capsys.readouterr().out


def test_unknown_flags_end_with_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["condense", "digits", "--ipcs", "1", "--out", "x"])
    assert stopped.value.code == 2


COMMAND = [sys.executable, "-m", "datacondense", "condense"]
SLOW_ENOUGH = [
    "--budget",
    "published",
    "--network",
    "convnet-w8-d2",
    "--ipc",
    "2",
    "--iterations",
    "100",
    "--real-batch",
    "8",
    "--threads",
    "1",
]
OFTEN = ["--checkpoint-every", "0.05", "--device", "cpu"]


def start(dataset: str, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    command = [*COMMAND, dataset, "--out", str(out), *SLOW_ENOUGH, *OFTEN, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a run; give its exit code and what it said on standard error."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def _heeds_ctrl_c() -> Iterator[None]:
    """Let child processes heed SIGINT, which is ignored where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def wait_for_steps(out: Path, steps: int) -> None:
    """Wait until a run has logged some steps."""
    log = out / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < steps:
        assert time.monotonic() < deadline, "the run did not get there in a minute"
        time.sleep(0.01)


def kill_at(dataset: str, out: Path, steps: int) -> None:
    """Start or continue a run, and kill it once it has logged so many steps."""
    process = start(dataset, out, "--resume")
    wait_for_steps(out, steps)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert not (out / "condensed.safetensors").exists()


def result(dataset: str, out: Path) -> bytes:
    """Let a run go on to its end, in this process, and give the bytes of its result."""
    assert main(["condense", dataset, "--out", str(out), *SLOW_ENOUGH, *OFTEN, "--resume", "--quiet"]) == 0
    return (out / "condensed.safetensors").read_bytes()


def test_a_run_killed_again_and_again_gives_the_same_bytes(dataset: str, tmp_path: Path) -> None:
    for steps in (2, 40):
        kill_at(dataset, tmp_path / "killed", steps)
    assert result(dataset, tmp_path / "killed") == result(dataset, tmp_path / "unbroken")


@pytest.mark.slow
def test_ten_runs_killed_at_random_moments_give_the_same_bytes(dataset: str, tmp_path: Path) -> None:
    expected = result(dataset, tmp_path / "unbroken")
    for steps in random.Random(0).sample(range(1, 110), 10):
        out = tmp_path / f"killed-{steps}"
        kill_at(dataset, out, steps)
        assert result(dataset, out) == expected


@pytest.mark.usefixtures("_heeds_ctrl_c")
@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_saves_and_says_how_to_continue(dataset: str, tmp_path: Path, stop: signal.Signals) -> None:
    out = tmp_path / "run"
    # More draws than any machine does before this process, which may have to wait for its turn, sends the signal.
    process = start(dataset, out, "--iterations", "1000000")
    wait_for_steps(out, 5)
    process.send_signal(stop)
    code, said = finish(process)
    assert code == 130
    assert f"Run the same command with --resume to continue from {out}" in said
    assert "Traceback" not in said
    assert (out / "checkpoint.safetensors").exists()


def test_a_reader_that_has_seen_enough_is_no_error(run: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "datacondense", "info", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_with_a_sentence_and_the_run_can_continue(dataset: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    try:
        code, said = finish(start(dataset, disk / "run"))
        assert code == 2
        assert "Traceback" not in said
        assert "No space left on" in said
        assert not (disk / "run" / "condensed.safetensors").exists()
    finally:
        subprocess.run(["umount", disk], check=True)
