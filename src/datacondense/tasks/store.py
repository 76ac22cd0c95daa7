"""The folder of recorded tasks: what is finished, what failed, and what is being computed.

    TASKS/<key>/cell.json      what the task computes; written first
    TASKS/<key>/…              the task's own files, such as checkpoints and a condensed set
    TASKS/<key>/failure.json   why it failed, until it succeeds
    TASKS/<key>/record.json    the result; once it exists, the task is finished

Any number of studies may share the folder, even at the same time: a task is locked while it runs, and a second process
waits and then finds the record.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias, TypedDict

import torch
from msgspec import Meta

from datacondense.errors import InputError
from datacondense.files import (
    checked,
    expanded,
    read_json,
    reading,
    remove_leftovers,
    write_bytes,
    write_text,
    writing,
)
from datacondense.locking import locked
from datacondense.renamed import current_names, former_task, is_built_in

TASKS = "cells"  # the folder of tasks in an output folder; its name since the first release
FAILURE = "failure.json"
_NETWORKS = {"EvaluateCell", "WholeCell"}  # tags of tasks that train one
_REMEDY = "remove its folder to have the task computed again"
_RECORD, _DESCRIPTION, _LOCK = "record.json", "cell.json", ".claim"

Files: TypeAlias = Mapping[str, bytes]  # by their paths in the folder of a task


class _Record(TypedDict):
    """What a finished task leaves, under the names of the first release."""

    cell: str
    settings: dict[str, Any]
    inputs: list[str]
    result: dict[str, Any]
    seconds: float


class _BuiltIn(TypedDict, total=False):
    """What is read again of the results of built-in tasks."""

    fingerprint: str
    condensing_seconds: float
    iterations: float
    memory: dict[str, float]
    image_lr: float | None
    environment: dict[str, str | int]


class _Scored(_BuiltIn):
    """What is read again of a network's."""

    accuracy: Annotated[float, Meta(ge=0, le=1)] | None


class _Failure(TypedDict):
    error: str


@dataclass(frozen=True)
class Store:
    """A folder of tasks.

    Attributes:
        path: The folder.
    """

    path: Path

    def folder(self, key: str) -> Path:
        """Return the folder of a task, whether or not it exists."""
        return self.path / key

    def finished(self, key: str) -> bool:
        """Whether a task is finished."""
        return (self.folder(key) / _RECORD).exists()

    def record(self, key: str) -> dict[str, Any]:
        """Return what `finish` wrote for this task."""
        path = self.folder(key) / _RECORD
        found = read_json(path, _Record, "a record", _REMEDY)
        if not _is_of(found, key):
            raise InputError(f"{path} is the record of another task: {_REMEDY}.")
        if is_built_in(found["cell"]):
            with reading(path, "a record", _REMEDY):
                checked(found["result"], _Scored if found["cell"] in _NETWORKS else _BuiltIn)
        return _current(found)

    def failure(self, key: str) -> dict[str, Any] | None:
        """Return why a task failed; None if it has not failed, or has succeeded since."""
        if self.finished(key):
            return None
        path = self.folder(key) / FAILURE
        return _current(read_json(path, _Failure, "a failure", _REMEDY)) if path.exists() else None

    def begin(self, key: str, description: Mapping[str, Any]) -> None:
        """Record that a task is started, whose lock the caller holds; its former failure is forgotten."""
        remove_leftovers(self.folder(key), _RECORD, _DESCRIPTION, FAILURE)
        self.forget(key)
        write_json(self.folder(key) / _DESCRIPTION, description)

    def forget(self, key: str) -> None:
        """Remove a recorded failure, so that a new one can be told from it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            (self.folder(key) / FAILURE).unlink()

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Record the result of a task, after all its other files."""
        write_json(self.folder(key) / _RECORD, record)

    def fail(self, key: str, failure: Mapping[str, Any]) -> None:
        """Record why a task failed."""
        write_json(self.folder(key) / FAILURE, failure)

    def files(self, key: str) -> Files:
        """Return what the folder of a task holds, to be sent elsewhere."""
        folder = self.folder(key)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != _LOCK
        }

    def take(self, key: str, files: Files) -> None:
        """Put files that another store held in the folder of a task; the result last, as where they came from."""
        folder = self.folder(key)
        for name in sorted(files, key=lambda name: name in {FAILURE, _RECORD}):
            write_bytes(folder / name, files[name])

    def claimed(self, key: str) -> AbstractContextManager[None]:
        """Hold the lock of a task; wait while another process holds it. A killed process releases its lock."""
        return locked(self.folder(key) / _LOCK, wait=True)


class Recorded(Protocol):
    """What has a key, as every task."""

    @property
    def key(self) -> str:
        """The key."""


@dataclass(frozen=True)
class Workspace:
    """The folders and the device that a running task uses.

    Attributes:
        store: The records.
        device_name: Name of the device.
        deterministic: Whether a GPU computes with deterministic algorithms only.
    """

    store: Store
    device_name: str = "cpu"
    deterministic: bool = False

    @property
    def device(self) -> torch.device:
        """The device to compute on."""
        return torch.device(self.device_name)

    def folder(self, task: Recorded) -> Path:
        """Return the folder of a task: its own to write to, or that of an input to read from.

        Args:
            task: The task.

        Returns:
            The folder; it exists.
        """
        folder = self.store.folder(task.key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def result(self, task: Recorded) -> dict[str, Any]:
        """Return what the `run` of an input returned.

        Args:
            task: The input.

        Returns:
            Its result.
        """
        result: dict[str, Any] = self.store.record(task.key)["result"]
        return result


def store_in(out: Path | str) -> Store:
    """Return the tasks of an output folder, by an absolute path for workers in other folders."""
    with writing(Path(out)):
        path = expanded(out).resolve() / TASKS
        path.exists()  # raises where the name is impossible
    return Store(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain JSON values atomically; the same values give the same bytes."""
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def key_of(described: Mapping[str, Any]) -> str:
    """Return the key of a task: a hash of its description in the form of the first release."""
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _is_of(record: Mapping[str, Any], key: str) -> bool:
    """Whether a record describes the task of a key, in today's form or in that of the first release."""
    described = {name: record[name] for name in ("cell", "settings", "inputs", "version") if name in record}
    if key_of(described) == key:
        return True
    try:
        return key_of(former_task(described)) == key
    except (KeyError, TypeError, AttributeError):
        return False


def _current(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of any release holds with today's names."""
    current: dict[str, Any] = current_names(values) if is_built_in(values.get("cell", "")) else dict(values)
    return current
