"""Tasks that compute nothing: they note that they ran, and fail on demand."""

import os
import signal
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.runner import run_tasks
from datacondense.studies.store import RECORD, Store
from datacondense.studies.task import Workspace, task_key
from datacondense.studies.workers import Workers

INLINE = Workers("inline", 1, 1)

MNIST = DataSource(name="mnist", content={"train": "x", "test": "y", "mean": [0.1], "std": [0.3]})
"""A data set for tests that may not read one."""


@dataclass(frozen=True, kw_only=True)
class MadeTask:
    """A task that appends "name begin" and "name end" to a file.

    Attributes:
        log: The file.
        breaks: What it does instead of ending, while the file `switch` exists: "InputError", "KeyError" or "kill".
        waits: Seconds that it takes.
        timed: Seconds that it claims to take.
    """

    name: str
    log: Path
    inputs: tuple["MadeTask", ...] = ()
    kind: str = "made"
    breaks: str = ""
    switch: Path = Path()
    waits: float = 0.0
    timed: float = 1.0
    warning: str = ""

    @property
    def protocol(self) -> EvaluationConfig:
        """A protocol with a seed of its own, so that tasks of one entry differ."""
        return EvaluationConfig(seed=int.from_bytes(self.name.encode()[:6]))

    @property
    def repeat(self) -> int:
        return 0

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        self._note("begin")
        assert all((workspace.folder(source) / RECORD).exists() for source in self.inputs), "run too early"
        time.sleep(self.waits)
        if self.breaks and self.switch.exists():
            self._break()
        if self.warning:
            warnings.warn(self.warning, stacklevel=2)
        self._note("end")
        return {"threads": torch.get_num_threads(), "device": str(workspace.device), "process": os.getpid()}

    def estimate(self, device: torch.device) -> float:
        return self.timed

    def _break(self) -> None:
        if self.breaks == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"InputError": InputError, "KeyError": KeyError}[self.breaks](f"{self.name}\nis broken")

    def _note(self, what: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{self.name} {what}\n")


def lines(log: Path) -> list[str]:
    """Read what the tasks noted."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def keys(tasks: Iterable[MadeTask]) -> set[str]:
    return {task_key(task) for task in tasks}


def run_at_once(barrier: Any, tasks: Sequence[MadeTask], folder: Path) -> None:
    """Wait for the other process, then run tasks."""
    barrier.wait(60)
    run_tasks(tasks, Store(folder), INLINE)
