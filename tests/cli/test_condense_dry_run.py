"""`condense --dry-run`."""

import json
from pathlib import Path

import pytest

from datacondense.cli.main import main


def test_a_dry_run_tells_the_costs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "run"
    command = [
        "condense",
        "digits",
        "--out",
        str(out),
        "--dry-run",
        "--network",
        "convnet-w8-d2",
        "--seed",
        "1",
    ]
    assert main([*command, "--budget", "published"]) == 0
    printed = capsys.readouterr().out
    assert "Time: 1000 iterations of " in printed
    assert "Memory: " in printed
    assert f"MB in {out}, which has " in printed
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["iterations"], found["device_memory"]) == (120, None)  # of the fast preset
    assert found["disk"] < found["disk_free"]
    assert not out.parent.exists()


@pytest.mark.slow
def test_processes_that_share_a_run_are_told_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [
        "condense",
        "digits",
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
        "--network",
        "convnet-w8-d2",
    ]
    assert main([*command, "--processes", "2"]) == 0
    assert " MiB in each of 2 processes\n" in capfd.readouterr().out
    assert not (tmp_path / "run").exists()
