"""The commands that are broken off, how each goes on, and what must be the same at its end."""

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datacondense.cli.main import main
from tests.conftest import make_set

_TRAINING = [*("--network", "mlp", "--engine", "eager", "--threads", "1", "--real-batch", "2")]
_RUN = [
    "condense",
    "../data.npz",
    "--out",
    "run",
    "--iterations",
    "4",
    "--budget",
    "published",
    "--checkpoint-every",
    "0",
    *_TRAINING,
]
_VALIDATED = ["--validation-fraction", "0.25", "--validate-every", "2", "--validation-networks", "1"]
_SELECT = (
    "select ../data.npz --out s.safetensors --method herding --ipc 1 --cache cache --epochs 2 --threads 1"
)
_STUDY = "study ../study.toml ../data.npz --out out --iterations 2 --seeds 1 --repeats 1 --epochs 2 --full-networks 0"
_EXPORT = "export ../set.safetensors --out exported --force --format image-folder"

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """A command in an empty folder, beside which the inputs lie.

    Attributes:
        name: Its name.
        words: The arguments.
        again: What is added to continue it.
        out: What it writes.
        content: Returns what must be the same however often it was broken off.
        share: How often it is tried, of all.
        prepare: Arguments of a command that runs before, whose result must not be lost.
    """

    name: str
    words: list[str]
    again: list[str]
    out: str
    content: Callable[[Path], Content]
    share: int
    prepare: list[str] | None = None


def run_content(out: Path) -> Content:
    """Return the result of a run, and its log without the clock."""
    log = [
        re.sub(rb'"seconds": [^,}]*', b"", line) for line in (out / "metrics.jsonl").read_bytes().splitlines()
    ]
    return {"result": (out / "condensed.safetensors").read_bytes(), "log": log, "files": names(out)}


def files_content(out: Path) -> Content:
    """Return every file, or the one."""
    if out.is_file():
        return {out.name: out.read_bytes()}
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def study_content(out: Path) -> Content:
    """Return what the tasks of a study found, without times and memory."""
    records = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.rglob("record.json"))}
    found = {
        key: {name: record["result"].get(name) for name in ("accuracy", "fingerprint", "loss", "iterations")}
        for key, record in records.items()
    }
    sets = {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("condensed.safetensors"))
    }
    return {"found": found, **sets, "files": names(out)}


def names(folder: Path) -> list[str]:
    """Return the names of all files in a folder, without locks."""
    files = (path for path in folder.rglob("*") if path.name not in {".lock", ".claim"})
    return sorted(str(path.relative_to(folder)) for path in files)


JOBS = {
    job.name: job
    for job in (
        Job("condense", _RUN, ["--resume"], "run", run_content, 5),
        Job("validated", [*_RUN, *_VALIDATED], ["--resume"], "run", run_content, 1),
        Job("siamese", [*_RUN, "--method", "dsa"], ["--resume"], "run", run_content, 3),
        Job("distribution", [*_RUN, "--method", "dm"], ["--resume"], "run", run_content, 3),
        Job(
            "export", _EXPORT.split(), [], "exported", files_content, 6,
            prepare=_EXPORT.replace("set.", "old.").split(),
        ),
        Job("select", _SELECT.split(), ["--force"], "s.safetensors", files_content, 2),
        Job("study", [*_STUDY.split(), "--backend", "inline", *_TRAINING], [], "out", study_content, 2),
    )
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Write what the jobs read."""
    train = make_set(num_classes=2, per_class=4, shape=(1, 8, 8))
    images, labels = train.images.permute(0, 2, 3, 1).numpy(), train.labels.numpy()
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    train.save(folder / "set.safetensors")
    make_set(num_classes=3, per_class=3, shape=(1, 8, 8)).save(folder / "old.safetensors")
    (folder / "study.toml").write_text('[rows.one]\nnetwork = "mlp"\n[columns.one]\nnetwork = "mlp"\n')


def run_here(words: list[str], folder: Path) -> None:
    """Run a command in this process, so that all it imports is ready before processes fork."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as complaint:
            code = main(words)
    finally:
        os.chdir(before)
    assert code == 0, f"datacondense {' '.join(words)} ended with {code}: {complaint.getvalue()}"
