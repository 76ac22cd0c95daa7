"""`datacondense search` from the command line to its page, whatever interrupts it."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import psutil  # type: ignore[import-untyped]
import pytest
from optuna.storages import RDBStorage

from datacondense.applications import architecture_search
from datacondense.cli.main import main, parsed
from datacondense.cli.search import Search
from datacondense.reports.records import read_search_record
from datacondense.reports.search_page import search_csv_text, search_markdown
from datacondense.tasks.scheduler import run_task
from datacondense.tasks.workers import WorkersConfig
from tests.postgres import postgres_server

GRID = ["--widths", "8", "--depths", "1", "2", "--norms", "none", "--activations", "relu"]
SPACE = [*GRID, "--poolings", "max", "average"]
SIZE = ["--ipc", "2", "--epochs", "70", "--reference-epochs", "3"]
MACHINE = ["--precision", "float32", "--engine", "eager", "--threads", "1", "--heartbeat", "1"]
NUM_NETWORKS, STUDIES = 4, ("random", "early-stopped", "reference")
STEM = "search-digits-ipc2"


def command(out: Path, *options: str) -> list[str]:
    """Return the arguments of a small search."""
    proxies = [] if "--proxies" in options else ["--proxies", "random", "early-stopped"]
    space = [] if {"--networks", "--space"} & set(options) else SPACE
    return ["search", "digits", "--out", str(out), *proxies, *space, *SIZE, *MACHINE, *options]


def files(folder: Path) -> dict[str, bytes]:
    """Read page, table and plot; the seconds are not the same in two searches."""
    return {ending: (folder / f"{STEM}.{ending}").read_bytes() for ending in ("csv", "png")}


def finished(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (folder / "cells").glob("*/record.json")}


def begun(folder: Path) -> set[str]:
    """Return the networks in training."""
    return {path.parent.name for path in (folder / "cells").glob("*/cell.json")} - finished(folder).keys()


def check_complete(url: str) -> Counter[str]:
    """Check that every study has each architecture once; return how many trials are in which state."""
    storage, states = RDBStorage(url), Counter[str]()
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        states.update(trial.state.name for trial in trials)
        complete = [trial.user_attrs["network"] for trial in trials if trial.state.name == "COMPLETE"]
        assert len(complete) == len(set(complete)) == NUM_NETWORKS
    storage.remove_session()
    storage.engine.dispose()
    return states


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(command(folder, "--backend", "inline", "--quiet")) == 0
    return folder


def test_a_search_is_written_and_not_repeated(unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(unbroken) | {"md": (unbroken / f"{STEM}.md").read_bytes()}
    assert main(command(unbroken, "--backend", "inline", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["computed"], printed["reused"], printed["failed"]) == (0, NUM_NETWORKS * 3, {})
    assert files(unbroken) | {"md": (unbroken / f"{STEM}.md").read_bytes()} == before
    result = read_search_record(printed)
    assert search_csv_text(result).encode() == before["csv"]
    page = before["md"].decode()
    assert search_markdown(result, {}).split("\n\n")[1] in page
    assert "- Architectures: 4, each of them\n" in page
    assert "- Reference: 3 epochs on the full training set\n" in page
    lines = list(csv.DictReader(before["csv"].decode().splitlines()))
    assert Counter(line["proxy"] for line in lines) == dict.fromkeys(STUDIES, NUM_NETWORKS)
    assert {line["images"] for line in lines} == {"20", "1299"}
    assert check_complete(f"sqlite:///{unbroken / 'search.db'}") == {"COMPLETE": NUM_NETWORKS * 3}


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """Start a command and its workers in a group of processes of their own."""
    return subprocess.Popen(
        [sys.executable, "-m", "datacondense", *arguments],
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for_networks(process: "subprocess.Popen[str]", folder: Path, number: int) -> None:
    """Wait until so many networks are trained, and one is in training."""
    while len(finished(folder)) < number or not begun(folder):
        assert process.poll() is None, f"the search ended before it could be stopped: {process.communicate()}"
        time.sleep(0.002)


def test_a_killed_search_continues_to_the_same_bytes(unbroken: Path, tmp_path: Path) -> None:
    process = start(command(tmp_path, "--jobs", "2"))
    wait_for_networks(process, tmp_path, 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = finished(tmp_path)
    assert begun(tmp_path), "no trial was interrupted"
    assert main(command(tmp_path, "--backend", "inline")) == 0
    assert_as_unbroken(unbroken, tmp_path, before)


@pytest.mark.slow
def test_a_search_goes_on_when_a_worker_is_killed(unbroken: Path, tmp_path: Path) -> None:
    process = start(command(tmp_path, "--jobs", "2"))
    wait_for_networks(process, tmp_path, 3)
    workers = [each for each in psutil.Process(process.pid).children() if "loky" in " ".join(each.cmdline())]
    workers[-1].kill()
    before = finished(tmp_path)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert_as_unbroken(unbroken, tmp_path, before)


def assert_as_unbroken(unbroken: Path, folder: Path, before: dict[str, bytes]) -> None:
    """Check that nothing was trained twice, and that interrupted trials are told apart."""
    assert before.items() <= finished(folder).items()
    assert files(folder) == files(unbroken)
    assert check_complete(f"sqlite:///{folder / 'search.db'}").keys() == {"COMPLETE", "FAIL"}


def interrupt_at(call: int, interruption: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call something once a network is trained, at the end of one task."""
    calls = count(1)

    def run(*given: Any) -> None:
        run_task(*given)
        if next(calls) == call:
            interruption()

    monkeypatch.setattr("datacondense.applications.search_trials.run_task", run)


def test_ctrl_c_stops_and_the_same_command_continues(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    interrupt_at(10, stop, monkeypatch)
    arguments = command(tmp_path, "--backend", "inline")
    assert main(arguments) == 130
    assert capsys.readouterr().err.endswith("Stopped. Run the same command again to continue.\n")
    before = finished(tmp_path)
    assert main(arguments) == 0
    assert before.items() <= finished(tmp_path).items()
    assert files(tmp_path) == files(unbroken)
    assert check_complete(f"sqlite:///{tmp_path / 'search.db'}") == {"COMPLETE": NUM_NETWORKS * 3, "FAIL": 1}


def test_a_database_may_go_away(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgres_server() as server:
        server.psql("CREATE DATABASE search;")
        url = server.get_uri(database="search", driver="psycopg").replace(":@", ":geheim@")
        arguments = command(tmp_path, "--backend", "inline", "--storage", url)

        def leave() -> None:
            server.psql("ALTER DATABASE search ALLOW_CONNECTIONS false;")
            server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'search';")

        interrupt_at(5, leave, monkeypatch)
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert "search" in said
        assert "cannot be used any more" in said
        assert "run the same command again when the database is back.\n" in said
        assert "Traceback" not in said
        before = finished(tmp_path)
        server.psql("ALTER DATABASE search ALLOW_CONNECTIONS true;")
        assert main(arguments) == 0
        assert before.items() <= finished(tmp_path).items()
        assert files(tmp_path) == files(unbroken)
        assert check_complete(url) == {"COMPLETE": NUM_NETWORKS * 3, "FAIL": 1}
        for text in (said, capsys.readouterr().out, (tmp_path / f"{STEM}.md").read_text()):
            assert "geheim" not in text


def test_a_sampler_suggests_and_a_pruner_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = ["mlp", *(f"convnet-w{width}-d1" for width in (2, 4, 8, 16, 32))]
    options = ["--sampler", "tpe", "--trials", "12", "--pruner", "median", "--repeats", "2", "--epochs", "60"]
    options += ["--proxies", "random", "--networks", *networks, "--backend", "inline", "--json"]
    assert main(command(tmp_path, *options)) == 0
    result = read_search_record(json.loads(capsys.readouterr().out))
    tried = {name: set(lines["network"]) for name, lines in result.frame.groupby("proxy")}
    assert 2 <= len(tried["random"]) <= len(networks)
    assert tried["reference"] <= tried["random"], "the reference trains what was tried"
    storage = RDBStorage(f"sqlite:///{tmp_path / 'search.db'}")
    (name,) = (each for each in optuna.get_all_study_names(storage) if each.startswith("random"))
    trials = optuna.load_study(study_name=name, storage=storage).trials
    lengths = {state: set[int]() for state in ("COMPLETE", "PRUNED")}
    for trial in trials:
        lengths[trial.state.name].add(len(trial.intermediate_values))
    assert (len(trials), lengths) == (12, {"COMPLETE": {2}, "PRUNED": {1}})
    storage.remove_session()
    storage.engine.dispose()


def test_a_network_that_fails_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = "tests.applications.made_search:Fragile"
    options = ["--proxies", "random", "--networks", "mlp", own, "--backend", "inline"]
    assert main(command(tmp_path, *options)) == 1
    said = capsys.readouterr()
    assert "RuntimeError: too many images" in said.err
    assert "Failed tasks: 1;" in said.err
    page = (tmp_path / f"{STEM}.md").read_text(encoding="utf-8")
    assert "Architectures without a number, of 2: random: 1." in page
    assert main(command(tmp_path, *options)) == 1, "the same command tries again"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--storage", "sqlite:////nowhere/search.db"], "nowhere/search.db cannot be opened (unable to open"),
        (["--networks", "mlp", "nonsense"], "There is no network 'nonsense': choose one of convnet, mlp"),
        (["--networks", "mlp", "convnet-d4"], "convnet-d4"),
        (["--proxies", "magic"], "There is no method 'magic': choose from random, herding"),
        (["--proxies", "none.safetensors"], "none.safetensors"),
        (["--proxies", "random", "random"], "must be one or more, each once"),
        (["--sampler", "tpe"], "trials is None with the sampler tpe: give --trials"),
        (["--trials", "3"], "trials is 3 with the sampler grid"),
        (["--pruner", "median"], "acts between the networks of an architecture, and repeats is 1"),
        (["--reference-epochs", "1"], "reference_epochs is 1, but must be 2 or more"),
        (["--validation-fraction", "0"], "validation_fraction is 0.0, but must be above 0 and below 1"),
        (["--space", "none.toml", "--widths", "8"], "--space and options such as --widths"),
        (["--space", "none.toml"], "There is no search space 'none.toml'"),
        (["--heartbeat", "0"], "heartbeat is 0, but must be 1 or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, *options, "--backend", "inline")) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.glob("cells/*")), "nothing was trained"


def test_optuna_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(architecture_search, "find_spec", lambda name: None)
    assert main(command(tmp_path)) == 2
    assert "pip install 'datacondense[search]'" in capsys.readouterr().err


def test_the_architectures_may_be_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.toml"
    path.write_text('networks = ["mlp", "lenet"]', encoding="utf-8")
    options = ["--space", str(path), "--reference-epochs", "0", "--backend", "inline", "--json"]
    assert main(command(tmp_path, *options, "--proxies", "random")) == 0
    result = read_search_record(json.loads(capsys.readouterr().out))
    assert result.networks == ("mlp", "lenet")
    assert not result.reference
    page = (tmp_path / f"{STEM}.md").read_text(encoding="utf-8")
    assert f"--space {path}" in page
    assert "- Reference: none\n" in page
    path.write_text('networks = ["mlp", "lenet", "convnet-w4-d1"]', encoding="utf-8")
    assert main(command(tmp_path, *options, "--proxies", "random")) == 0
    assert len(read_search_record(json.loads(capsys.readouterr().out)).frame) == 3


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--ipc", "1", "--repeats", "20", "--widths", "8", "--sampler", "tpe", "--trials", "3"],
        ["--space", "mine.toml", "--trust-code", "--ipc-of", "0=3,1=2", "--resize", "16", "--channels", "1"],
        ["--proxies", "dm", "random", "--override", "dm.iterations=5", "--transform", "max-pool-1"],
    ],
)
def test_the_command_on_the_page_gives_the_same_search(options: list[str]) -> None:
    given = parsed(["search", "mnist", "--out", "OUT", "--jobs", "2", *options])
    assert isinstance(given, Search)
    _, *words = shlex.split(given.command())
    assert parsed(words) == replace(given, workers=WorkersConfig())
