"""Commands that are broken off, full disks, and folders that are shared, read-only or gone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def break_off(tmp_path: Path, *options: str) -> None:
    """Run the harness as a command."""
    command = [sys.executable, "-m", "tests.faults", "--results", str(tmp_path / "results.jsonl"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_handful_of_faults(tmp_path: Path) -> None:
    break_off(tmp_path, "--jobs", "condense", "export", "--kills", "8", "--full-disks", "8", "--others", "8")


@pytest.mark.faults
def test_a_thousand_faults(tmp_path: Path) -> None:
    break_off(tmp_path)
