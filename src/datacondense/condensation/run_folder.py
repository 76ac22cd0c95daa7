"""A run's folder: settings, checkpoint, metrics log and result, each readable at any moment.

    settings.json            what was asked, and where it ran; written first
    metrics.jsonl            one JSON object per line: steps, validations, the end
    checkpoint.safetensors   the state and step; replaced atomically
    condensed.safetensors    the result; its presence means that the run is finished

A kill can leave a last line of the log half-written, or lines that are newer than the checkpoint; `restore` drops
both, since the resumed run writes them again.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.renamed import current_names
from datacondense.tensor_files import read_tensors, write_tensors

RESULT = "condensed.safetensors"
SETTINGS = "settings.json"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
_LOCK = ".lock"


class ResumeError(InputError):
    """The run cannot be resumed: it had other settings or another environment, or its checkpoint is damaged."""


class Checkpoint(NamedTuple):
    """A place to continue from.

    Attributes:
        state: The state.
        step: The step that comes next.
        seconds: Time spent until here.
    """

    state: State
    step: Step
    seconds: float


class RunFolder:
    """The files of one run.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def result(self) -> Path:
        """Where the condensed set is, once the run is finished."""
        return self.path / RESULT

    @property
    def has_settings(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / SETTINGS).exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out while a run is going on; a killed process frees its claim.

        Yields:
            Nothing.

        Raises:
            InputError: Another process runs in this folder, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({error.strerror}): choose a folder that you may write to."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for unfinished in self.path.glob(".*.part"):  # what a killed process was writing
                unfinished.unlink()
            yield
        except BlockingIOError as error:
            raise InputError(
                f"{self.path} is in use by another run: wait for it to end, or give another --out."
            ) from error
        finally:
            os.close(lock)

    def begin(self, settings: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Make the folder ready for a run with these settings.

        Args:
            settings: Everything that the result depends on, as plain JSON values.
            resume: Continue an unfinished run.
            force: Discard what an earlier run left.

        Raises:
            InputError: Both flags are given; the folder holds a run and neither is given; or the run to resume had
                other settings.
        """
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
                f"{self.path} holds an unfinished run: --resume to continue it, or --force to begin anew."
            )
        if resume and self.has_settings:
            _check_same_settings(self.path, self.settings(), settings)
        else:
            write_text(self.path / SETTINGS, json.dumps(settings, indent=2, sort_keys=True) + "\n")

    def settings(self) -> dict[str, Any]:
        """Read what was asked of the run.

        Returns:
            The settings that `begin` wrote.

        Raises:
            InputError: They are missing or not JSON.
        """
        path = self.path / SETTINGS
        try:
            settings: dict[str, Any] = current_names(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read ({error}): give the folder of a datacondense run."
            ) from error
        return settings

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Args:
            checkpoint: Where to continue from.
        """
        metadata = {
            "position": json.dumps(checkpoint.step),
            "seconds": json.dumps(checkpoint.seconds),
        }
        write_tensors(self.path / CHECKPOINT, checkpoint.state.to_tensors(), metadata)

    def restore(self, device: torch.device) -> Checkpoint | None:
        """Read the checkpoint and drop what the log holds beyond it.

        Args:
            device: Where the tensors go.

        Returns:
            Where to continue from; None where no checkpoint was written yet.

        Raises:
            ResumeError: The checkpoint is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            self._keep_metrics_before(Step(0, 0))
            return None
        try:
            tensors, metadata = read_tensors(path)
            step = Step(*json.loads(metadata["position"]))
        except (InputError, KeyError) as error:
            raise ResumeError(
                f"{path} is damaged ({error}): restore it from a copy, or begin anew with --force."
            ) from error
        self._keep_metrics_before(step)
        state = State.from_tensors({name: tensor.to(device) for name, tensor in tensors.items()})
        return Checkpoint(state, step, json.loads(metadata["seconds"]))

    def log(self, **entry: Any) -> None:
        """Append one line to the metrics log.

        Args:
            **entry: Plain JSON values.

        Raises:
            InputError: The disk is full, or the folder cannot be written any more.
        """
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path / METRICS} cannot be written ({error.strerror}): free some space and continue with "
                "--resume."
            ) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Read the metrics log.

        Returns:
            Its whole lines, in order; a half-written last line is left out.
        """
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [current_names(json.loads(line)) for line in lines if line.endswith("\n")]

    def _keep_metrics_before(self, step: Step) -> None:
        """Drop the log's entries that the resumed run will write again."""
        kept = [entry for entry in self.metrics() if Step(entry["iteration"], entry["step"]) < step]
        write_text(self.path / METRICS, "".join(json.dumps(entry) + "\n" for entry in kept))

    def _discard(self) -> None:
        """Remove an earlier run's files, and no others; the result first, so that no moment looks finished."""
        for name in (RESULT, CHECKPOINT, METRICS, SETTINGS):
            (self.path / name).unlink(missing_ok=True)


def _check_same_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings, and name what differs."""
    old, new = _flattened(before), _flattened(json.loads(json.dumps(now)))
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if differing:
        listed = "; ".join(f"{key} was {old.get(key)!r} and is now {new.get(key)!r}" for key in differing)
        raise ResumeError(
            f"{path} cannot be resumed with other settings: {listed}. Give the old ones, or another --out."
        )


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
