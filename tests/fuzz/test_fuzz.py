"""Every reader under mutated inputs, and the watch itself: what it must notice, it notices."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from datacondense.errors import InputError
from tests.conftest import run_module
from tests.fuzz import batches
from tests.fuzz.batches import Batch, Prepared
from tests.fuzz.reader import Call, Reader
from tests.fuzz.readers import READERS
from tests.fuzz.session import FINDINGS
from tests.fuzz.strange import changed_bytes, changed_json, to_json


def test_every_reader(tmp_path: Path) -> None:
    done = run_module("tests.fuzz", tmp_path, "--inputs", "1000")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.fuzz
def test_every_reader_for_an_hour(tmp_path: Path) -> None:
    done = run_module(
        "tests.fuzz", tmp_path, "--inputs", "10000000", "--minutes", "60", "--seed", str(int(time.time()))
    )
    assert done.returncode == 0, done.stdout + done.stderr


def raises() -> None:
    raise KeyError("record")


def refuses(text: str) -> Call:
    def call() -> None:
        raise InputError(text)

    return call


def hangs() -> None:
    time.sleep(60)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory() -> None:
    assert len(b"1" * 200_000_000) > 0


def opens_a_pipe() -> None:
    os.mkfifo("pipe")
    Path("pipe").read_bytes()


def imports() -> None:
    sys.path.insert(0, "")
    __import__("evil")


class LongError(InputError):
    """Keeps a message as it is, which `InputError` itself cuts and escapes."""

    def __str__(self) -> str:
        return "x" * 2000


def is_too_long() -> None:
    raise LongError("")


CALLS: list[tuple[Callable[[], object], list[str]]] = [
    (lambda: None, []),
    (refuses("x is 1, but must be 2."), []),
    (raises, ["exception"]),
    (is_too_long, ["message"]),
    (lambda: print("\x1b[31m"), ["output"]),  # noqa: T201
    (lambda: Path("../private.txt").write_text(""), ["outside"]),
    (lambda: Path("../private.txt").unlink(), ["outside"]),
    (lambda: Path("../private.txt").read_text(), ["foreign file read"]),
    (lambda: Path("given.npz").write_text(""), ["input changed"]),
    (lambda: Path("result.npz").write_text(""), []),
    (imports, ["import"]),
    (opens_a_pipe, ["pipe opened"]),
    (lambda: subprocess.run(["true"], check=True), ["started"]),
    (lambda: sys.exit(2), []),
    (lambda: sys.exit(3), ["exit code"]),
    (hangs, ["hang"]),
    (dies, ["killed by SIGSEGV"]),
    (takes_memory, ["memory"]),
]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it forks, as the fuzzer does
@pytest.mark.parametrize(
    ("call", "found"), CALLS, ids=lambda value: "-".join(value) if isinstance(value, list) else ""
)
def test_watch_notices(
    call: Callable[[], object], found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SECONDS", 1.0)
    monkeypatch.setattr(batches, "MEGABYTES", 100.0)
    batch = tried(call, tmp_path, 1)
    assert [failure["oracle"] for failure in batch.failures] == found


def tried(call: Callable[[], object], folder: Path, inputs: int) -> Batch:
    """Try a call as if it were a reader's."""
    reader = Reader("made", 1, lambda _: lambda __, ___: call)
    return Prepared(reader, folder).run(0, 0, inputs)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_goes_on_behind_an_input_that_ends_the_process(tmp_path: Path) -> None:
    batch = tried(dies, tmp_path, 3)
    assert [failure["number"] for failure in batch.failures] == [0, 1, 2]


@pytest.mark.parametrize("number", range(20))
def test_equal_seeds_give_equal_changes(number: int) -> None:
    data, value = bytes(range(48, 148)), {"a": [1, {"b": "c"}], "d": None}

    def changes(seed: int) -> tuple[bytes, str]:
        rng = Random(f"made {seed} {number}")
        return changed_bytes(rng, data), to_json(changed_json(rng, value))

    assert changes(0) == changes(0)
    assert changes(0) != changes(1)


def test_findings_name_readers() -> None:
    assert {reader for _, reader, _, _ in FINDINGS} <= READERS.keys()
    assert sum(reader.share for reader in READERS.values()) == pytest.approx(1000, abs=5)
    assert all(re.compile(oracle) and re.compile(pattern) for _, _, oracle, pattern in FINDINGS)
