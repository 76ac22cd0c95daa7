"""Studies on the command line: one table, whatever interrupts them and wherever the tasks run."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.cli.main import main, parsed
from datacondense.cli.study import Study
from datacondense.tasks.workers import WorkersConfig

STUDY = """
title = "Does a width matter?"

[rows]
"8 | narrow" = { network = "convnet-w8-d1" }
"16" = { network = "convnet-w16-d1", iterations = 6 }

[columns]
MLP = { network = "mlp" }
ConvNet = { network = "convnet-w8-d1" }
"""
SIZE = ["--iterations", "4", "--real-batch", "8", "--seeds", "2", "--repeats", "2", "--epochs", "10"]
NUM_TASKS = 2 * 2 + 2 * 2 * 2 * 2


def command(folder: Path, *options: str) -> list[str]:
    """Return the arguments of a small study with an output folder."""
    study = folder / "width.toml"
    study.write_text(STUDY, encoding="utf-8")
    return ["study", str(study), "digits", "--out", str(folder), "--threads", "1", *SIZE, *options]


def tables(folder: Path) -> tuple[str, str, bytes]:
    """Read page, table and plot; the page names the study's file, which is in another folder each time."""
    page = (folder / "width-digits-ipc1.md").read_text(encoding="utf-8").replace(str(folder), "FOLDER")
    return (
        page,
        (folder / "width-digits-ipc1.csv").read_text(),
        (folder / "width-digits-ipc1.png").read_bytes(),
    )


def finished(folder: Path) -> dict[str, bytes]:
    """Read the records of finished tasks."""
    return {path.parent.name: path.read_bytes() for path in (folder / "cells").glob("*/record.json")}


def results(folder: Path) -> dict[str, list[object]]:
    """Return what may not depend on where tasks ran."""
    records = {key: json.loads(record)["result"] for key, record in finished(folder).items()}
    return {
        key: [found.get(name) for name in ("fingerprint", "loss", "accuracy")]
        for key, found in records.items()
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(command(folder, "--backend", "inline")) == 0
    assert len(finished(folder)) == NUM_TASKS
    return folder


def test_killed_study_continues_to_the_same_table(unbroken: Path, tmp_path: Path) -> None:
    arguments = command(tmp_path, "--backend", "processes", "--jobs", "2")
    program = [sys.executable, "-m", "datacondense", *arguments]
    process = subprocess.Popen(program, start_new_session=True, stderr=subprocess.DEVNULL)
    while len(finished(tmp_path)) < 6:
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(tmp_path)
    assert len(before) < NUM_TASKS, "the kill came too late"
    assert main(command(tmp_path, "--backend", "inline")) == 0
    assert before.items() <= finished(tmp_path).items(), "a finished task ran again"
    assert results(tmp_path) == results(unbroken)
    assert tables(tmp_path) == tables(unbroken)


def elsewhere(folder: Path) -> dict[str, Any]:
    """Return the working directory and the variables of a machine where this user has another home."""
    home = folder / "elsewhere" / "home"
    home.mkdir(parents=True, exist_ok=True)
    own = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    return {"cwd": home.parent, "env": {**own, "HOME": str(home)}}


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers, each a process of its own."""
    address = folder / "scheduler.json"
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--nworkers",
        "2",
        "--nthreads",
        "1",
        "--no-dashboard",
    ]
    begun = [
        subprocess.Popen(
            [*program, "--scheduler-file", str(address)], stderr=subprocess.DEVNULL, **elsewhere(folder)
        )
        for program in (scheduler, worker)
    ]
    try:
        while not address.exists():
            assert begun[0].poll() is None, "the scheduler ended"
            time.sleep(0.05)
        yield json.loads(address.read_text())["address"]
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    """Start a node with two processors."""
    ray = Path(sys.executable).with_name("ray")
    port = 20_000 + os.getpid() % 10_000
    # Paths of Unix sockets must be short, and the test's folder is not.
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={short}"]
        started = [str(ray), "start", "--head", "--disable-usage-stats", *options]
        subprocess.run(started, check=True, capture_output=True, **elsewhere(folder))
        try:
            yield f"127.0.0.1:{port}"
        finally:
            subprocess.run([ray, "stop", "--force"], check=True, capture_output=True)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_every_cluster_gives_the_same_table(
    backend: str, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token in anyone's home folder
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    program = [sys.executable, "-m", "datacondense", *command(tmp_path, "--backend", backend, "--jobs", "2")]
    with {"dask": dask_cluster, "ray": ray_cluster}[backend](tmp_path) as address:
        subprocess.run([*program, "--address", address], check=True, capture_output=True)
    assert (tmp_path / "elsewhere" / "home" / ".cache" / "datacondense" / "tasks").is_dir()
    assert results(tmp_path) == results(unbroken)
    assert tables(tmp_path) == tables(unbroken)


def test_failed_tasks_are_reported_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unbroken: Path
) -> None:
    arguments = command(tmp_path, "--backend", "inline")
    key = next(path.parent for path in (unbroken / "cells").glob("*/condensed.safetensors")).name
    (tmp_path / "cells" / key).mkdir(parents=True)
    (tmp_path / "cells" / key / "settings.json").write_text("broken")
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert f"Failed: {tmp_path / 'cells' / key}: " in printed.err
    assert "Failed tasks: 1; tasks not run because an input failed: 4." in printed.err
    assert "†" in tables(tmp_path)[0]
    (tmp_path / "cells" / key / "settings.json").unlink()
    assert main(arguments) == 0
    assert tables(tmp_path) == tables(unbroken)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--networks", "mlp", "convnet-w8", "--ipcs", "1", "10", "--image-lr-scale", "5", "--epochs", "7"],
        [
            "--validation-fraction",
            "0.25",
            "--real-batch",
            "16",
            "--resize",
            "16",
            "--augmentation",
            "crop-scale",
        ],
        ["--image-updates", "100", "--start", "real", "--network-epochs", "5", "--distance", "squared"],
    ],
)
def test_the_command_on_the_page_gives_the_same_study(options: list[str]) -> None:
    given = parsed(["study", "norm", "mnist", "--out", "OUT", "--jobs", "2", *options])
    assert isinstance(given, Study)
    _, *words = shlex.split(given.command())
    again = parsed(words)
    assert again == replace(given, workers=WorkersConfig())


def test_dry_run_prints_tasks_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(tmp_path), "--dry-run", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)
    assert {kind["kind"]: (kind["tasks"], kind["finished"]) for kind in estimate["kinds"]} == {
        "condense with convnet-w8-d1, ipc 1, B = 8: 4 iterations": (2, 0),
        "condense with convnet-w16-d1, ipc 1, B = 8: 6 iterations": (2, 0),
        "train mlp: 10 epochs of ipc 1": (8, 0),
        "train convnet-w8-d1: 10 epochs of ipc 1": (8, 0),
    }
    assert all(0 < kind["seconds"] < 60 and kind["memory"] > 50 for kind in estimate["kinds"])
    assert not (tmp_path / "cells").exists()


def test_held_out_images_are_scored_under_another_name(tmp_path: Path) -> None:
    options = [
        "--backend",
        "inline",
        "--validation-fraction",
        "0.2",
        "--seeds",
        "1",
        "--repeats",
        "1",
        "--quiet",
    ]
    assert main([*command(tmp_path), *options]) == 0
    page = (tmp_path / "width-digits-ipc1-validation.md").read_text(encoding="utf-8")
    assert "digits, scored on 20% of the training images, held out" in page
    assert "--validation-fraction 0.2" in page


def test_code_that_a_toml_study_names_needs_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "named_nets.py").write_text(
        "from torch import nn\nopen('imported', 'w').close()\n"
        "net = lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(
        '[rows.a]\nnetwork = "named_nets:net"\n[columns.b]\nnetwork = "named_nets:net"\n', encoding="utf-8"
    )
    args = ["study", "own.toml", "digits", "--out", "out", "--backend", "inline", "--threads", "1", *SIZE]
    args += ["--iterations", "1", "--seeds", "1", "--repeats", "1"]
    assert main(args) == 2
    assert "own.toml names named_nets:net, code" in capsys.readouterr().err
    assert not Path("imported").exists()
    assert main([*args, "--trust-code"]) == 0
    assert Path("imported").exists()
    page = next(Path("out").glob("*.md")).read_text(encoding="utf-8")
    assert "study own.toml digits --trust-code" in page
