"""The folder of recorded tasks: what is finished, what failed, and what is being computed.

    TASKS/<key>/cell.json      what the task computes; written first
    TASKS/<key>/…              the task's own files, such as checkpoints and a condensed set
    TASKS/<key>/failure.json   why it failed, until it succeeds
    TASKS/<key>/record.json    the result; once it exists, the task is finished

Any number of studies may share the folder, even at the same time: a task is locked while it runs, and a second process
waits and then finds the record.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.locking import locked
from datacondense.renamed import current_names

RECORD = "record.json"
FAILURE = "failure.json"
DESCRIPTION = "cell.json"  # the name on disk since the first release
_LOCK = ".claim"


@dataclass(frozen=True)
class Store:
    """A folder of tasks.

    Attributes:
        path: The folder.
    """

    path: Path

    def folder(self, key: str) -> Path:
        """Return the folder of a task.

        Args:
            key: The task's key.

        Returns:
            Its path, whether or not it exists.
        """
        return self.path / key

    def finished(self, key: str) -> bool:
        """Return whether a task is finished.

        Args:
            key: The task's key.

        Returns:
            Whether its record exists.
        """
        return (self.folder(key) / RECORD).exists()

    def record(self, key: str) -> dict[str, Any]:
        """Read the record of a finished task.

        Args:
            key: The task's key.

        Returns:
            What `finish` wrote.
        """
        return _read(self.folder(key) / RECORD)

    def failure(self, key: str) -> dict[str, Any] | None:
        """Read why a task failed.

        Args:
            key: The task's key.

        Returns:
            What `fail` wrote; None if the task has not failed, or has succeeded since.
        """
        path = self.folder(key) / FAILURE
        if not path.exists() or self.finished(key):
            return None
        try:
            return _read(path)
        except FileNotFoundError:  # another study has just started to try again
            return None

    def forget(self, key: str) -> None:
        """Remove the traces of a task that was started or failed, so that new ones can be told from old ones.

        Args:
            key: The task's key.
        """
        for name in (FAILURE, DESCRIPTION):
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.folder(key) / name).unlink()

    def begun(self, key: str) -> bool:
        """Return whether a task was started since it was forgotten.

        Args:
            key: The task's key.

        Returns:
            Whether its description exists.
        """
        return (self.folder(key) / DESCRIPTION).exists()

    def begin(self, key: str, description: Mapping[str, Any]) -> None:
        """Record that a task is started; the caller holds its lock.

        Args:
            key: The task's key.
            description: What it computes.
        """
        write_json(self.folder(key) / DESCRIPTION, description)

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Record the result of a task, after all its other files.

        Args:
            key: The task's key.
            record: Plain JSON values.
        """
        write_json(self.folder(key) / RECORD, record)

    def fail(self, key: str, failure: Mapping[str, Any]) -> None:
        """Record why a task failed.

        Args:
            key: The task's key.
            failure: Plain JSON values.
        """
        write_json(self.folder(key) / FAILURE, failure)

    @contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """Hold the lock of a task; wait while another process holds it. A killed process releases its lock.

        Args:
            key: The task's key.

        Yields:
            Nothing.

        Raises:
            InputError: The folder cannot be written.
        """
        with locked(self.folder(key) / _LOCK, wait=True):
            yield


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain JSON values atomically; the same values give the same bytes.

    Args:
        path: The destination.
        values: The values.
    """
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a finished task.

    Args:
        folder: The task's folder.

    Returns:
        What its `run` returned.
    """
    result: dict[str, Any] = _read(folder / RECORD)["result"]
    return result


def _read(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    try:
        values: dict[str, Any] = current_names(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): remove its folder to have the task computed again."
        ) from error
    return values
