"""Several processes of one command: what one of them does wrong, or what happens to it, ends all with one sentence."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from datacondense.cli.main import main
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder

# Large maps and little memory: classes go one by one, so that their shares round alike.
RUN = [
    *("condense", "digits", "--resize", "32", "--network", "convnet-w8-d2", "--real-batch", "256"),
    *("--graph-memory", "1", "--ipc", "2", "--matching-steps", "2", "--network-epochs", "2"),
    *("--budget", "published", "--iterations", "3", "--checkpoint-every", "0"),
]
KILLED = "datacondense: Process {} was killed by signal 9: run the same command with --resume to continue.\n"
COMMAND = (sys.executable, "-m", "datacondense")


def started(args: Sequence[str], **variables: str) -> "subprocess.Popen[str]":
    """Start a command whose standard error is read."""
    pipe = subprocess.PIPE
    words = [*COMMAND, *args]
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=os.environ | variables)


def steps_logged(folder: Path, number: int) -> None:
    """Wait until so many steps of a run are logged."""
    while len(RunFolder(folder).metrics()) < number:
        time.sleep(0.02)


def ranks_of(process: "subprocess.Popen[str]") -> list[int]:
    """Return the ids of the processes that one has started, in order."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return sorted(map(int, found.stdout.split()))


def without_progress(said: str) -> str:
    """Return what is said beside progress."""
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith("condense: "))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The images that one process learns."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main([*RUN, "--out", str(folder), "--threads", "1"]) == 0
    return ImageSet.load(folder / "condensed.safetensors").fingerprint


def test_a_killed_process_ends_all_and_one_goes_on(unbroken: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")]
    process = started([*RUN, *out, "--processes", "2"])
    steps_logged(tmp_path / "run", 3)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, without_progress(said)) == (1, KILLED.format(1))
    assert main([*RUN, *out, "--threads", "1", "--resume"]) == 0
    assert ImageSet.load(tmp_path / "run" / "condensed.safetensors").fingerprint == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(10))
def test_a_run_survives_ten_random_moments(unbroken: str, tmp_path: Path, trial: int) -> None:
    rng = random.Random(trial)
    out, sizes = ["--out", str(tmp_path / "run")], rng.choices((1, 2, 3), k=4)
    code = -1
    for size in sizes:
        process = started([*RUN, *out, *_resumed(tmp_path), "--processes", str(size), "--threads", "1"])
        time.sleep(rng.uniform(2.0, 12.0))
        if process.poll() is None:
            victims = [process.pid, *ranks_of(process)] if size > 1 else [process.pid]
            os.kill(rng.choice(victims), rng.choice((signal.SIGKILL, signal.SIGTERM)))
        _, said = process.communicate(timeout=240)
        assert process.returncode in {0, 1, 130, -signal.SIGKILL, -signal.SIGTERM}
        assert "Traceback" not in said
        _until_free(tmp_path / "run")
    code = main([*RUN, *out, *_resumed(tmp_path), "--threads", "1"])
    assert (code, ImageSet.load(tmp_path / "run" / "condensed.safetensors").fingerprint) == (0, unbroken)


def _resumed(folder: Path) -> list[str]:
    return ["--resume"] if (folder / "run" / "settings.json").exists() else []


def _until_free(run: Path) -> None:
    """Wait until nothing goes on with a run: what lost the process that started it stops by itself."""
    while RunFolder(run).is_claimed():
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_and_all_go_on(unbroken: str, tmp_path: Path, stop: signal.Signals) -> None:
    out = ["--out", str(tmp_path / "run")]
    process = started([*RUN, *out, "--processes", "2"])
    steps_logged(tmp_path / "run", 2)
    process.send_signal(stop)
    _, said = process.communicate(timeout=120)
    expected = f"Stopped. Run the same command with --resume to continue from {tmp_path / 'run'}.\n"
    assert (process.returncode, without_progress(said)) == (130, expected)
    process = started([*RUN, *out, "--processes", "3", "--resume"])
    assert (process.communicate(timeout=240)[1], process.returncode) != ("", 1)
    assert ImageSet.load(tmp_path / "run" / "condensed.safetensors").fingerprint == unbroken


@pytest.mark.slow
def test_torchrun_starts_them_too(unbroken: str, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "datacondense"]
    words = [*torchrun, *RUN, "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("20 images (2 for each of 10 classes)") == 1
    assert ImageSet.load(tmp_path / "condensed.safetensors").fingerprint == unbroken


def by_hand(words: Sequence[Sequence[str]], folder: Path) -> tuple[list[int], str]:
    """Start ranks with arguments of their own as on machines of their own; return exit codes and what all said."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(len(words))}
    ranks = [started([*own, "--out", str(folder)], **shared, RANK=str(n)) for n, own in enumerate(words)]
    said = "".join("".join(rank.communicate(timeout=120)) for rank in ranks)
    return [rank.returncode for rank in ranks], said


@pytest.mark.slow
def test_wrong_input_of_one_rank_is_one_sentence_and_exit_code_2_of_all(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(2):
        images = torch.randint(0, 256, (20, 8, 8), generator=generator, dtype=torch.uint8).numpy()
        np.savez(tmp_path / f"{number}.npz", images=images, labels=np.arange(20) % 2)
    begin, end = (
        ["condense"],
        ["--ipc", "1", "--network", "mlp", "--budget", "published", "--iterations", "2"],
    )
    own, other = ([*begin, str(tmp_path / f"{number}.npz"), *end] for number in range(2))
    trials = {
        "source.fingerprint is": (own, other),
        "run.seed is 1 on rank 1 and 0 on rank 0": (own, [*own, "--seed", "1"]),
        "Rank 1: There is no file or folder ": (own, [*begin, str(tmp_path / "none.npz"), *end]),
        "There are 3 processes, but only 2 classes to share out: start 2 at most.": [own] * 3,
        "tune searches in one process": ([*begin, own[1], "--tune", "--budget", "10s"],) * 2,
    }
    for sentence, words in trials.items():
        codes, said = by_hand(words, tmp_path / "run")
        assert codes == [2] * len(words), said
        assert said.startswith(f"datacondense: {sentence}")
        assert said.count("\n") == 1
        assert not (tmp_path / "run" / "settings.json").exists()


@pytest.mark.slow
def test_a_time_is_planned_for_all_ranks(tmp_path: Path) -> None:
    words = ["condense", "digits", "--budget", "6s", "--out", str(tmp_path), "--processes", "2", "--json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert ImageSet.load(tmp_path / "condensed.safetensors").provenance["environment"]["processes"] == 2
