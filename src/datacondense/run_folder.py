"""The folder of a run that can be stopped: settings, checkpoint, metrics log and result, each readable at any moment.

    settings.json            what was requested, and where it ran; written first
    metrics.jsonl            one JSON object per line
    checkpoint.safetensors   tensors and progress; replaced atomically
    condensed.safetensors    the result (or another name); its presence means that the run is finished

A kill can leave a last line of the log half-written, or lines that are newer than the checkpoint; `keep_metrics` drops
them, since the resumed run writes them again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.locking import locked
from datacondense.renamed import current_names
from datacondense.settings import joined_keys
from datacondense.tensor_files import read_tensors, write_tensors

RESULT = "condensed.safetensors"
SETTINGS = "settings.json"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
_LOCK = ".lock"


class ResumeError(InputError):
    """The run cannot be resumed: it had other settings or another environment, or its checkpoint is damaged."""


class Checkpoint(NamedTuple):
    """Where a run can go on: its tensors on the CPU, and how far it is as plain JSON values."""

    tensors: Mapping[str, Tensor]
    progress: Mapping[str, Any]


class RunFolder:
    """The files of one run.

    Attributes:
        path: The folder.
        result: Where the result is, once the run is finished.
    """

    def __init__(self, path: Path, result: str = RESULT) -> None:
        self.path = path
        self.result = path / result

    @property
    def has_settings(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / SETTINGS).exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out while a run goes on; a killed process frees its claim."""
        with locked(self.path / _LOCK, wait=False):
            for unfinished in self.path.glob(".*.part"):  # what a killed process was writing
                unfinished.unlink()
            yield

    def begin(self, settings: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Prepare the folder for a run with these settings, which are all that its result depends on."""
        if resume and force:
            raise InputError("--resume and --force contradict each other: continue the run or discard it.")
        if force:
            self._discard()
        elif not resume and self.result.exists():
            raise InputError(
                f"{self.path} holds a finished run: give another --out, or --force to overwrite it."
            )
        elif not resume and self.has_settings:
            raise InputError(
                f"{self.path} holds an unfinished run: --resume to continue it, or --force to start anew."
            )
        if resume and self.has_settings:
            _check_same_settings(self.path, self.settings(), settings)
            return
        for path in (self.result, self.path / CHECKPOINT):
            if path.exists():  # it could be any run's
                raise ResumeError(
                    f"{path} lies there without the {SETTINGS} that it belongs to: give another --out, or --force to "
                    "overwrite it."
                )
        write_text(self.path / SETTINGS, json.dumps(settings, indent=2, sort_keys=True) + "\n")

    def settings(self) -> dict[str, Any]:
        """Read the settings of the run, as `begin` wrote them."""
        path = self.path / SETTINGS
        try:
            settings: dict[str, Any] = current_names(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read ({error}): give the folder of a datacondense run."
            ) from error
        return settings

    def save_checkpoint(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the checkpoint; `progress` is plain JSON values."""
        metadata = {name: json.dumps(value) for name, value in progress.items()}
        write_tensors(self.path / CHECKPOINT, tensors, metadata)

    def checkpoint(self) -> Checkpoint | None:
        """Read the checkpoint; None where none was written yet."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path)
            return Checkpoint(tensors, {name: json.loads(value) for name, value in metadata.items()})
        except (InputError, ValueError) as error:
            raise ResumeError(
                f"{path} is damaged ({error}): restore it from a copy, or start anew with --force."
            ) from error

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint of a run that is finished."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def log(self, **entry: Any) -> None:
        """Append one line of plain JSON values to the metrics log."""
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path / METRICS} cannot be written ({error.strerror}): free some space and continue with "
                "--resume."
            ) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Read the complete lines of the metrics log; a half-written last one is left out."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [current_names(json.loads(line)) for line in lines if line.endswith("\n")]

    def keep_metrics(self, kept: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the log's entries that a resumed run writes again."""
        entries = [entry for entry in self.metrics() if kept(entry)]
        write_text(self.path / METRICS, "".join(json.dumps(entry) + "\n" for entry in entries))

    def _discard(self) -> None:
        """Remove an earlier run's files, and no others; the result first, so that no moment looks finished."""
        for path in (self.result, *(self.path / name for name in (CHECKPOINT, METRICS, SETTINGS))):
            path.unlink(missing_ok=True)


def _check_same_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings, and name what differs."""
    old, new = joined_keys(before), joined_keys(json.loads(json.dumps(now)))
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if differing:
        listed = "; ".join(f"{key} was {old.get(key)!r} and is now {new.get(key)!r}" for key in differing)
        raise ResumeError(
            f"{path} cannot be resumed with other settings: {listed}. Give the old ones, or another --out."
        )
