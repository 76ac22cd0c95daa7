"""The folder of recorded tasks: what is finished, what failed, and what is being computed.

    TASKS/<key>/cell.json      what the task computes; written first
    TASKS/<key>/…              the task's own files, such as checkpoints and a condensed set
    TASKS/<key>/failure.json   why it failed, until it succeeds
    TASKS/<key>/record.json    the result; once it exists, the task is finished

Any number of studies may share the folder, even at the same time: a task is locked while it runs, and a second process
waits and then finds the record.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.locking import locked
from datacondense.renamed import current_names

TASKS = "cells"  # the folder of tasks in an output folder; its name since the first release
FAILURE = "failure.json"
_RECORD, _DESCRIPTION, _LOCK = "record.json", "cell.json", ".claim"


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
        """Return what `finish` wrote."""
        return _read(self.folder(key) / _RECORD)

    def failure(self, key: str) -> dict[str, Any] | None:
        """Return why a task failed; None if it has not failed, or has succeeded since."""
        if self.finished(key):
            return None
        try:
            return _read(self.folder(key) / FAILURE)
        except FileNotFoundError:
            return None

    def begin(self, key: str, description: Mapping[str, Any]) -> None:
        """Record that a task is started, whose lock the caller holds; its former failure is forgotten."""
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
    """

    store: Store
    device_name: str = "cpu"

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
        result: dict[str, Any] = _read(self.folder(task) / _RECORD)["result"]
        return result


def store_in(out: Path | str) -> Store:
    """Return the tasks of an output folder, by an absolute path for workers in other folders."""
    return Store(Path(out).expanduser().resolve() / TASKS)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain JSON values atomically; the same values give the same bytes."""
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): remove its folder to have the task computed again."
        ) from error
    built_in = str(values.get("cell", "")).endswith("Cell")  # only these had other names once
    return current_names(values) if built_in else values
