"""The folder of recorded cells: what is finished, what failed, and who is at work.

    CELLS/<key>/cell.json      what the cell computes; written first
    CELLS/<key>/…              the cell's own files, such as checkpoints and a condensed set
    CELLS/<key>/failure.json   why it failed, until it succeeds
    CELLS/<key>/record.json    the result; its presence means that the cell is finished

Any number of studies share such a folder, at the same time too: a cell is claimed while it runs, and whoever comes
second waits and finds the record.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datacondense.errors import InputError
from datacondense.files import write_text
from datacondense.renamed import current_names

RECORD = "record.json"
FAILURE = "failure.json"
DESCRIPTION = "cell.json"
_CLAIM = ".claim"


@dataclass(frozen=True)
class Store:
    """A folder of cells.

    Attributes:
        path: The folder.
    """

    path: Path

    def folder(self, key: str) -> Path:
        """Give the folder of a cell.

        Args:
            key: The cell's key.

        Returns:
            Its path, whether or not it exists.
        """
        return self.path / key

    def finished(self, key: str) -> bool:
        """Tell whether a cell is done.

        Args:
            key: The cell's key.

        Returns:
            Whether its record exists.
        """
        return (self.folder(key) / RECORD).exists()

    def record(self, key: str) -> dict[str, Any]:
        """Read the record of a finished cell.

        Args:
            key: The cell's key.

        Returns:
            What `finish` wrote.
        """
        return _read(self.folder(key) / RECORD)

    def failure(self, key: str) -> dict[str, Any] | None:
        """Read why a cell failed.

        Args:
            key: The cell's key.

        Returns:
            What `fail` wrote; None where the cell has not failed, or has succeeded since.
        """
        path = self.folder(key) / FAILURE
        if not path.exists() or self.finished(key):
            return None
        try:
            return _read(path)
        except FileNotFoundError:  # another study has begun to try again
            return None

    def forget(self, key: str) -> None:
        """Forget that a cell was begun or failed, so that it can be seen whether it is begun or fails again.

        Args:
            key: The cell's key.
        """
        for name in (FAILURE, DESCRIPTION):
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.folder(key) / name).unlink()

    def begun(self, key: str) -> bool:
        """Tell whether a cell was begun since it was forgotten.

        Args:
            key: The cell's key.

        Returns:
            Whether its description exists.
        """
        return (self.folder(key) / DESCRIPTION).exists()

    def begin(self, key: str, description: Mapping[str, Any]) -> None:
        """Say that a cell is begun; the caller has claimed it.

        Args:
            key: The cell's key.
            description: What it computes.
        """
        write_json(self.folder(key) / DESCRIPTION, description)

    def finish(self, key: str, record: Mapping[str, Any]) -> None:
        """Record the result of a cell; the last thing that is written.

        Args:
            key: The cell's key.
            record: Plain JSON values.
        """
        write_json(self.folder(key) / RECORD, record)

    def fail(self, key: str, failure: Mapping[str, Any]) -> None:
        """Record why a cell failed.

        Args:
            key: The cell's key.
            failure: Plain JSON values.
        """
        write_json(self.folder(key) / FAILURE, failure)

    @contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """Wait until no other process is at work on a cell, then keep others out; a killed process frees its claim.

        Args:
            key: The cell's key.

        Yields:
            Nothing.

        Raises:
            InputError: The folder cannot be written.
        """
        folder = self.folder(key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            claim = os.open(folder / _CLAIM, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written ({error.strerror}): choose a folder that you may write to."
            ) from error
        try:
            fcntl.flock(claim, fcntl.LOCK_EX)
            yield
        finally:
            os.close(claim)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain JSON values atomically, with the same bytes for the same values.

    Args:
        path: The destination.
        values: The values.
    """
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a finished cell, for cells that need it.

    Args:
        folder: The cell's folder.

    Returns:
        What its `run` gave.
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
            f"{path} cannot be read ({error}): remove its folder to have the cell computed again."
        ) from error
    return values
