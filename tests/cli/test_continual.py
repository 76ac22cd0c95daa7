"""`datacondense continual`: tables, kills, memories of one's own, wrong input."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from datacondense.cli.continual import Continual
from datacondense.cli.main import main, parsed
from datacondense.evaluation.full_training import load_network
from datacondense.reports.continual_page import csv_of_tests, read_continual_record
from datacondense.tasks.workers import WorkersConfig

SIZE = [
    "--ipc",
    "2",
    "--network",
    "convnet-w8-d1",
    "--iterations",
    "2",
    "--real-batch",
    "8",
    "--matching-steps",
    "1",
]
LENGTH = ["--seeds", "2", "--steps", "20", "--fine-tuning-steps", "4", "--full-epochs", "1", "--threads", "1"]
MEMORIES = ["--memories", "dc", "random", "herding", "all", "nothing"]
STEM = "continual-digits-2-stages-end-to-end-ipc2"


def command(out: Path, *options: str) -> list[str]:
    stream = ["continual", "digits", "--stages", "2", "--out", str(out)]
    return [*stream, *SIZE, *LENGTH, *MEMORIES, *options]


def files(out: Path) -> dict[str, bytes]:
    """Read what is the same in every run: all but the page, which has seconds."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.*")) if path.suffix != ".md"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    assert main(command(out, "--backend", "inline")) == 0
    return out


def test_the_page_compares_memories_after_each_stage(unbroken: Path) -> None:
    page = (unbroken / f"{STEM}.md").read_text(encoding="utf-8")
    assert "| memory \\\\ stage | 1 | 2 |" in page
    for row in ("gradient-matching", "random", "herding", "all", "nothing", "gradient-matching, distilled"):
        assert f"\n| {row} | " in page
    assert "gradient-matching > herding, stage 2" in page
    assert "| memory | stage 1 | stage 2 | mean | forgetting | backward transfer | images |" in page
    assert f"]({STEM}.png)" in page


def test_means_and_test_sets_agree(unbroken: Path) -> None:
    means = pd.read_csv(unbroken / f"{STEM}.csv").set_index(["row", "column"])["mean"]
    tests = pd.read_csv(unbroken / f"{STEM}-tests.csv")
    assert len(tests) == 9 * 2 * (1 + 2)  # rows, seeds, test sets seen
    for (row, stage), lines in tests.groupby(["row", "stage"]):
        assert lines.groupby("seed")["accuracy"].mean().mean() == pytest.approx(means[row, stage], abs=1e-4)


def test_the_upper_bound_is_above_the_lower(unbroken: Path) -> None:
    means = pd.read_csv(unbroken / f"{STEM}.csv").set_index(["row", "column"])["mean"]
    assert means["all", 2] > means["nothing", 2] + 10


def test_networks_can_be_loaded(unbroken: Path) -> None:
    found = [load_network(path) for path in (unbroken / "cells").glob("*/network.safetensors")]
    assert {trained.network.num_classes for trained in found} == {5, 10}


def test_a_killed_comparison_continues_to_the_same_bytes(unbroken: Path, tmp_path: Path) -> None:
    arguments = command(tmp_path, "--backend", "processes", "--jobs", "2")

    def records() -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in (tmp_path / "cells").glob("*/record.json")}

    program = [sys.executable, "-m", "datacondense", *arguments]
    process = subprocess.Popen(program, start_new_session=True, stderr=subprocess.DEVNULL)
    while len(records()) < 8:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = records()
    assert main(command(tmp_path, "--backend", "inline")) == 0
    assert before.items() <= records().items(), "a finished stage ran again"
    assert files(tmp_path) == files(unbroken)


def test_the_record_gives_the_tables_again(unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(unbroken, "--backend", "inline", "--json")) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["computed"] == 0
    result = read_continual_record(record)
    assert csv_of_tests(result).encode() == (unbroken / f"{STEM}-tests.csv").read_bytes()


OWN = """
import torch
def first(images, ipc, seed):
    return images.subset(torch.cat([members[:ipc] for members in images.class_indices]))
"""


def test_a_memory_of_ones_own_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_memory", raising=False)
    (tmp_path / "own_memory.py").write_text(OWN, encoding="utf-8")
    options = [
        "--protocol",
        "from-memory",
        "--memories",
        "own_memory:first",
        "nothing",
        "--class-order",
        "given",
    ]
    more = ["--seeds", "1", "--repeats", "2", "--epochs", "5", "--full-epochs", "1", "--backend", "inline"]
    stream = ["continual", "digits", "--stages", "2", "--out", "out"]
    assert main([*stream, *options, "--network", "mlp", *more]) == 0
    page = (tmp_path / "out" / "continual-digits-2-stages-from-memory-ipc10.md").read_text(encoding="utf-8")
    assert "\n| own_memory:first | " in page
    assert "| memory | 0, 1, 2, 3, 4 | 5, 6, 7, 8, 9 | mean |" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["digits"], "digits alone is no stream: give --stages to cut its classes into groups"),
        (["digits", "mnist", "--stages", "2"], "stages is 2, but 2 data sets are stages themselves"),
        (["digits", "mnist", "--class-order", "given"], "--class-order is of the classes of one data set"),
        (
            ["digits", "--stages", "6"],
            "stages is 6, but digits has 10 classes and a stage needs at least two",
        ),
        (
            ["digits", "--stages", "2", "--memories", "magic"],
            "There is no method 'magic': choose from random",
        ),
        (
            ["digits", "--stages", "2", "--memories", "dc", "dc"],
            "memories are gradient-matching, gradient-matching: ",
        ),
        (["digits", "--stages", "2", "--ipcs", "1"], "ipcs is given, but continual learning does not use it"),
        (["digits", "--stages", "2", "--steps", "0"], "steps is 0, but must be 1 or more"),
        (
            ["digits", "--stages", "2", "--temperature", "0"],
            "temperature is 0.0, but must be a number above 0",
        ),
    ],
)
def test_wrong_input_is_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["continual", *options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"datacondense: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_class_with_too_few_images_for_the_memory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--memories", "random", "--ipc", "1000", "--seeds", "1", "--steps", "1", "--network", "mlp"]
    stream = ["continual", "digits", "--stages", "2", "--out", str(tmp_path), "--backend", "inline"]
    assert main([*stream, *options]) == 1
    assert "ipc is 1000" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["end-to-end", "from-memory"])
def test_a_dry_run_lists_every_kind_of_task(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--protocol", protocol, "--dry-run", "--threads", "1", "--jobs", "1", "--epochs", "4"]
    assert main(command(tmp_path, *options)) == 0
    printed = capsys.readouterr().out
    kinds = ["keep all images", "select by random, ipc 2"]
    kinds += (
        ["20 steps, distilled"]
        if protocol == "end-to-end"
        else ["on 2 sets for 4 epochs", "on 1 set for 1 epochs"]
    )
    for kind in kinds:
        assert kind in printed
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["mnist", "usps", "--temperature", "3", "--memories", "random", "all", "--resize", "16"],
        ["digits", "--stages", "2", "--ipc", "1", "--repeats", "20", "--protocol", "from-memory"],
        ["digits", "--stages", "2", "--class-order", "given", "--ipc-of", "0=3", "--matching-steps", "2"],
    ],
)
def test_the_command_on_the_page_gives_the_same_comparison(options: list[str]) -> None:
    given = parsed(["continual", *options, "--out", "OUT", "--jobs", "2"])
    assert isinstance(given, Continual)
    _, *words = shlex.split(given.command())
    assert parsed(words) == replace(given, workers=WorkersConfig())
