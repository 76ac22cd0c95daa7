"""No file makes a command import a module: names of code in files are data."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from tests.conftest import make_set
from tests.fuzz.array_readers import write_data
from tests.fuzz.reader import StoppedError

EVIL = "evil:net"
# Runs commands in one process, whose audit hook notes every import of the module and every file that it opens.
PROGRAM = """
import json, sys
from datacondense.cli.main import main
seen = []

def audit(event, arguments):
    if event in {"import", "open"} and "evil" in str(arguments[0]) or event == "exec" and "evil" in str(arguments[0]):
        seen.append(f"{event} {arguments[0]}")

sys.addaudithook(audit)
for name, words in json.loads(sys.argv[1]).items():
    print(f"<{name}>", file=sys.stderr)
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    print(json.dumps({"name": name, "code": code, "seen": seen, "imported": "evil" in sys.modules}), flush=True)
    seen.clear()
"""
COMMANDS = {
    "evaluate": ["evaluate", "theirs.safetensors", "--on", "data.npz", "--repeats", "1", "--epochs", "1"],
    "info": ["info", "theirs.safetensors"],
    "info of a run": ["info", "run"],
    "show": ["show", "theirs.safetensors", "--out", "picture.png"],
    "export": ["export", "theirs.safetensors", "--format", "npz", "--out", "exported"],
    "evaluate an export": ["evaluate", "exported", "--on", "data.npz", "--repeats", "1", "--epochs", "1"],
    "info of an export": ["info", "exported"],
    "resume": ["condense", "data.npz", "--out", "run", "--resume", "--iterations", "2", "--real-batch", "2"],
    "study": ["study", "study.toml", "data.npz", "--out", "out", "--iterations", "1", "--backend", "inline"],
    "dry run": ["study", "study.toml", "data.npz", "--out", "out", "--iterations", "1", "--dry-run"],
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, object], str]]:
    """Return, for each command, what it did and what it wrote to standard error."""
    folder = tmp_path_factory.mktemp("theirs")
    prepare(folder)
    command = [sys.executable, "-c", PROGRAM, json.dumps(COMMANDS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not (folder / "was_imported").exists()
    parts = dict(part.split(">\n", 1) for part in done.stderr.split("<")[1:] if ">\n" in part)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {row["name"]: (row, parts[row["name"]]) for row in rows}


def prepare(folder: Path) -> None:
    """Write a module, and files of all kinds that name it."""
    (folder / "evil.py").write_text("open('was_imported', 'w').close()\nnet = None\n")
    write_data(folder / "data.npz")
    named = {"network": EVIL, "distance": EVIL, "transform": [EVIL]}
    condensed = condense(made := make_set(num_classes=2, per_class=4), settings(), RunConfig(iterations=1))
    record = {
        **condensed.provenance,
        "method": "evil:Method",
        "settings": {**condensed.provenance["settings"], **named},
    }
    replace(condensed, provenance=record).save(folder / "theirs.safetensors")
    with pytest.raises(StoppedError):
        condense(made, settings(), RunConfig(iterations=2), directory=folder / "run", observer=stop)
    path = folder / "run" / "settings.json"
    values = json.loads(path.read_text())
    path.write_text(
        json.dumps({**values, "method": "evil:Method", "settings": {**values["settings"], **named}})
    )
    (folder / "study.toml").write_text(f'[rows.one]\nnetwork = "{EVIL}"\n[columns.one]\nnetwork = "{EVIL}"\n')


def settings() -> GradientMatchingConfig:
    return GradientMatchingConfig(ipc=1, network="mlp", real_batch=2, engine="eager")


def stop(_: object) -> None:
    raise StoppedError


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_imported(said: dict[str, tuple[dict[str, object], str]], name: str) -> None:
    row, _ = said[name]
    assert row["seen"] == []
    assert not row["imported"]


@pytest.mark.parametrize("name", ["info", "show", "export", "info of an export"])
def test_what_needs_no_code_works(said: dict[str, tuple[dict[str, object], str]], name: str) -> None:
    row, text = said[name]
    assert row["code"] == 0, text


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("evaluate", f"--network {EVIL}"),
        ("evaluate an export", f"--network {EVIL}"),
        ("study", "--trust-code"),
        ("dry run", "--trust-code"),
        ("resume", "settings"),
    ],
)
def test_what_needs_code_is_refused_with_a_remedy(
    said: dict[str, tuple[dict[str, object], str]], name: str, remedy: str
) -> None:
    row, text = said[name]
    assert row["code"] == 2
    assert remedy in text
    assert text.count("\n") == 1
