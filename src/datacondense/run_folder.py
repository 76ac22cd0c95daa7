"""The folder of a run that can be stopped: settings, checkpoint, metrics log and result, each readable at any moment.

    settings.json            what was requested, and where it ran; written first
    metrics.jsonl            one JSON object per line
    checkpoint.safetensors   tensors and progress; replaced atomically
    condensed.safetensors    the result (or another name); its presence means that the run is finished

A kill can leave a last line of the log half-written, or lines that are newer than the checkpoint; `keep_metrics` drops
them, since the resumed run writes them again. A checkpoint carries a digest of the settings that it belongs to, so that
one of another run is never continued. A folder that was removed meanwhile is not made anew.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from msgspec import Meta
from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import (
    checked,
    flush_to_disk,
    read_json,
    reading,
    remove_leftovers,
    replacing,
    write_text,
    writing,
)
from datacondense.locking import is_locked, locked
from datacondense.renamed import current_names
from datacondense.settings import joined_keys
from datacondense.tensor_files import read_tensors, write_tensors

RESULT = "condensed.safetensors"
SETTINGS = "settings.json"
CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
FILES = (RESULT, SETTINGS, CHECKPOINT, METRICS)
_LOCK = ".lock"
# Of settings.json. Beside one without a version, of an earlier release, checkpoints have no digest.
_VERSION = 2
# What a resumed run may change: it says how far the run goes and what it reports, and enters no step.
CHANGEABLE = {
    f"run.{name}"
    for name in (
        "iterations",
        "time_limit",
        "checkpoint_every",
        "validate_every",
        "validation_networks",
        "patience",
    )
}

_Share = Annotated[float, Meta(ge=0, le=1)]


class ResumeError(InputError):
    """The run cannot be resumed: it had other settings or another environment, or its checkpoint is damaged."""


class Checkpoint(NamedTuple):
    """Where a run can go on: its tensors on the CPU, and how far it is as plain JSON values."""

    tensors: Mapping[str, Tensor]
    progress: Mapping[str, Any]


class _Validation(TypedDict):
    accuracy: _Share
    std: float
    n: int


class _Entry(TypedDict):
    """A line of the metrics log."""

    iteration: NotRequired[int]
    draw: NotRequired[int]  # its name in the first release
    step: int
    loss: float
    seconds: Annotated[float, Meta(ge=0, le=1e12)]
    validation: NotRequired[_Validation]


class _Preset(TypedDict):
    settings: dict[str, Any]


class _Run(TypedDict, total=False):
    iterations: int | None
    preset: _Preset


class _Settings(TypedDict, total=False):
    """What is read again of the settings."""

    version: int
    run: _Run


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
        return os.path.exists(self.path / SETTINGS)

    def is_claimed(self) -> bool:
        """Whether a process goes on with the run."""
        return is_locked(self.path / _LOCK)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out while a run goes on; a killed process frees its claim."""
        with locked(self.path / _LOCK, wait=False):
            remove_leftovers(self.path, self.result.name, CHECKPOINT, SETTINGS, METRICS)
            yield

    def check(self, *, resume: bool, force: bool) -> None:
        """Refuse to begin where another run is that is neither to be resumed nor to be discarded."""
        if resume and force:
            raise InputError("resume and force contradict each other: continue the run or discard it.")
        if resume or force:
            return
        with writing(self.path):
            is_finished = self.result.exists()
        if is_finished:
            raise InputError(
                f"{self.path} holds a finished run: give another folder (--out), or --force to overwrite it."
            )
        if self.has_settings:
            raise InputError(
                f"{self.path} holds an unfinished run: continue it with --resume, or discard it with --force."
            )

    def begin(self, settings: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        """Prepare the folder for a run with these settings, which are all that its result depends on."""
        self.check(resume=resume, force=force)
        if force:
            self._discard()
        version = _VERSION
        if resume and self.has_settings:
            version, before = self._read_settings()
            settings = _on_other_processes(before, settings)
            _check_same_settings(self.path, before, settings)
        else:
            for path in (self.result, self.path / CHECKPOINT):
                if path.exists():  # it could be any run's
                    raise ResumeError(
                        f"{path} lies there without the {SETTINGS} that it belongs to: give another folder (--out), or "
                        "--force to overwrite it."
                    )
        text = json.dumps({"version": version, **settings}, indent=2, sort_keys=True) + "\n"
        if not self.has_settings or (self.path / SETTINGS).read_text(encoding="utf-8") != text:
            write_text(self.path / SETTINGS, text)

    def settings(self) -> dict[str, Any]:
        """Read the settings of the run, as `begin` wrote them."""
        return self._read_settings()[1]

    def check_present(self) -> None:
        """Refuse to write into a folder that was removed or replaced while the run went on."""
        if not self.has_settings:
            raise InputError(
                f"{self.path} lost its {SETTINGS} while the run went on, so nothing more is written: start it again."
            )

    def save_checkpoint(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Replace the checkpoint; `progress` is plain JSON values."""
        self.check_present()
        metadata = {name: json.dumps(value) for name, value in progress.items()}
        if (self.path / METRICS).exists():  # its lines up to here must outlive a crash too
            with writing(self.path / METRICS):
                flush_to_disk(self.path / METRICS)
        metadata["settings"] = self._digest()
        write_tensors(self.path / CHECKPOINT, tensors, metadata, new_folder=False)

    def save_result(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write the result, after all other files."""
        self.check_present()
        write_tensors(self.result, tensors, metadata, new_folder=False)

    def checkpoint(self, kind: Any = dict[str, Any]) -> Checkpoint | None:
        """Read the checkpoint, whose progress has the types that `kind` declares; None where none was written yet."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path)
            digest = metadata.pop("settings", None)
            with reading(path, "a checkpoint", "it is damaged"):
                progress = {name: json.loads(value) for name, value in metadata.items()}
                checked(progress, kind)
        except InputError as error:
            raise ResumeError(f"{error} Restore it from a copy, or start anew with --force.") from error
        is_earlier = digest is None and self._read_settings()[0] < _VERSION
        if digest != self._digest() and not is_earlier:
            raise ResumeError(
                f"{path} belongs to a run with other settings than those in {SETTINGS} beside it: restore the right "
                "one from a copy, or start anew with --force."
            )
        return Checkpoint(tensors, progress)

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint of a run that is finished."""
        with writing(self.path / CHECKPOINT):
            (self.path / CHECKPOINT).unlink(missing_ok=True)

    def log(self, **entry: Any) -> None:
        """Append one line of plain JSON values to the metrics log."""
        self.check_present()
        with writing(self.path / METRICS), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read the entries of the metrics log; what a kill or a crash made of its end is left out."""
        path = self.path / METRICS
        if not path.exists():
            return []
        remedy = "restore it from a copy, or delete the lines that are no JSON"
        with reading(path, "a metrics log", remedy):
            *lines, _ = path.read_bytes().split(b"\n")
            found = [_entry(line) for line in lines]
        entries = [entry for entry in found if entry is not None]
        if found[: len(entries)] != entries:
            raise InputError(f"{path} is damaged in line {found.index(None) + 1}: {remedy}.")
        return entries

    def keep_metrics(self, kept: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the log's entries that a resumed run writes again."""
        entries = [entry for entry in self.metrics() if kept(entry)]
        with replacing(self.path / METRICS, new_folder=False) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")

    def _read_settings(self) -> tuple[int, dict[str, Any]]:
        """Read the version of settings.json, and the settings."""
        remedy = "give the folder of a datacondense run"
        found: Any = current_names(read_json(self.path / SETTINGS, _Settings, "settings", remedy))
        return found.pop("version", 1), found

    def _digest(self) -> str:
        """Return a hash of the settings that steps depend on."""
        kept = {key: value for key, value in joined_keys(self.settings()).items() if key not in CHANGEABLE}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def _discard(self) -> None:
        """Remove an earlier run's files, and no others; the result first, so that no moment looks finished."""
        for path in (self.result, *(self.path / name for name in (CHECKPOINT, METRICS, SETTINGS))):
            with writing(path):
                path.unlink(missing_ok=True)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Read a line of the log; None where it is none."""
    try:
        entry: dict[str, Any] = current_names(checked(json.loads(line), _Entry))
    except (ValueError, TypeError, RecursionError):
        return None
    return entry if "iteration" in entry else None


def different_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two runs differ, by their joined keys, with both values."""
    old, new = joined_keys(before), joined_keys(json.loads(json.dumps(now)))
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    }


def _on_other_processes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings with the processes and threads of before, where other numbers of processes share the run."""
    old, new = before.get("environment", {}), now.get("environment", {})
    if old.get("processes") == new.get("processes"):
        return now
    names = ("processes", "threads")
    kept = {name: old[name] for name in names if name in old}
    return {**now, "environment": {name: new[name] for name in new.keys() - {*names}} | kept}


def _check_same_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings, and name what differs."""
    differing = {key: pair for key, pair in different_settings(before, now).items() if key not in CHANGEABLE}
    if differing:
        listed = "; ".join(f"{key} was {old!r} and is now {new!r}" for key, (old, new) in differing.items())
        raise ResumeError(
            f"{path} cannot be resumed with other settings: {listed}. Give the old ones, or another folder (--out)."
        )
