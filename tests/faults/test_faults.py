"""Commands that are broken off, full disks, and folders that are shared, read-only or gone."""

from pathlib import Path

import pytest

from tests.conftest import run_module
from tests.faults.child import BROKEN, Child
from tests.faults.disk import FailingLayer
from tests.faults.jobs import JOBS, write_inputs
from tests.faults.trials import Bench, WrongError, check_said

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # it forks, as the harness does


def test_a_handful_of_faults(tmp_path: Path) -> None:
    done = run_module(
        "tests.faults",
        tmp_path,
        "--jobs",
        "condense",
        "export",
        "--kills",
        "6",
        "--full-disks",
        "6",
        "--others",
        "4",
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.faults
def test_a_thousand_faults(tmp_path: Path) -> None:
    done = run_module("tests.faults", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_layer_fails_one_change_and_all_after_it(tmp_path: Path) -> None:
    job = JOBS["export"]
    write_inputs(tmp_path)
    (tmp_path / "trial").mkdir()
    ends = []
    for operation in (0, 3, 10**9):
        layer = FailingLayer(tmp_path / "trial", operation)
        child = Child(job.words, tmp_path / "trial", tmp_path / "log.txt", layer.arrange)
        ends.append((child.wait(), layer.failed, "space" in child.said()))
        (tmp_path / "log.txt").unlink()
    assert ends == [(2, True, True), (2, True, True), (0, False, False)]


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("Traceback (most recent call last):", 2, "a traceback"),
        ("datacondense: x", 7, "exit code 7"),
        ("x", 2, "no sentence"),
        ("x", 130, "no word of having stopped"),
    ],
)
def test_what_a_command_says_is_judged(said: str, code: int, message: str, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    child = Child(["--version"], tmp_path, log)
    assert child.wait() == 0
    log.write_text(said)
    with pytest.raises(WrongError, match=message):
        check_said(child, code, allowed=(0, 2, 130))


def test_an_exception_of_the_library_is_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacondense.cli.main._help", lambda: 1 / 0)
    child = Child(["--help"], tmp_path, tmp_path / "log.txt")
    assert child.wait() == BROKEN
    assert "ZeroDivisionError" in child.said()


def test_other_bytes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # which the bench sets for good
    bench = Bench(tmp_path, ["export"])
    job, folder = JOBS["export"], bench.fresh(JOBS["export"])
    bench.finish(job, folder)
    (folder / "exported" / "original.safetensors").write_bytes(b"")
    with pytest.raises(WrongError, match="other content than the unbroken one's: original"):
        bench.compare(job, folder)
    bench.finish(job, bench.fresh(job))
    (folder / "left").touch()
    with pytest.raises(WrongError, match="files left over or lost: left"):
        bench.compare(job, folder)
