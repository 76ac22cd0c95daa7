"""Tasks that compute nothing: they note that they ran, wait, and fail on demand."""

import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import Task, description, images_of
from datacondense.tasks.workers import inline

INLINE = inline(1)

MNIST = DataSource(name="mnist", content={"train": "x", "test": "y", "mean": [0.1], "std": [0.3]})
"""A data set for tests that may not read one."""


@dataclass(frozen=True, kw_only=True)
class MadeTask(Task):
    """A task that appends "name begin" and "name end" to the file `log` in the store.

    Attributes:
        name: What is noted.
        inputs: Tasks that must be finished.
        kind: The label.
        breaks: How it ends while there is a file `switch` beside the log: "InputError", "KeyError", "Ctrl-C" or
            "death", with " at once" in any case; or "tensor", a result that is not JSON.
        waits: Seconds that it takes.
        awaits: What must be noted before it ends.
        warning: What it warns of.
    """

    name: str
    inputs: tuple["MadeTask", ...] = ()
    kind: str = "made"
    breaks: str = ""
    waits: float = 0.0
    awaits: str = ""
    warning: str = ""

    @property
    def label(self) -> str:
        """The kind."""
        return self.kind

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Note, wait, and break or return."""
        log = workspace.store.path / "log"
        note(log, f"{self.name} begin")
        assert all(workspace.store.finished(source.key) for source in self.inputs), "run too early"
        time.sleep(self.waits)
        for _ in range(600):
            if not self.awaits or self.awaits in lines(log):
                break
            time.sleep(0.05)
        else:
            raise TimeoutError(f"{self.awaits} has not happened")
        if self.breaks.endswith("at once") or log.with_name("switch").exists():
            self._break()
        if self.warning:
            warnings.warn(self.warning, stacklevel=2)
        note(log, f"{self.name} end")
        value = torch.ones(1) if self.breaks == "tensor" else torch.get_num_threads()
        strict = torch.are_deterministic_algorithms_enabled()
        where = {"threads": value, "device": str(workspace.device), "process": os.getpid()}
        return {**where, "deterministic": strict}

    def _break(self) -> None:
        how = self.breaks.removesuffix(" at once")
        if how == "death":
            os._exit(1)
        errors = {"InputError": InputError, "KeyError": KeyError, "Ctrl-C": KeyboardInterrupt}
        if how in errors:
            raise errors[how](f"{self.name}\nis broken")


@dataclass(frozen=True, kw_only=True)
class GpuTask(MadeTask):
    """A task that computes on a GPU, and tells on which."""

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute, note and wait."""
        ones = torch.ones(1000, device=workspace.device)
        assert float(ones.sum()) == 1000
        return {**super().run(workspace), "device": str(ones.device)}


@dataclass(frozen=True, kw_only=True)
class SumTask(Task):
    """A task that adds up pixels, writes the sum to a file of its own, and adds those of its inputs.

    Attributes:
        data: The images.
        inputs: Tasks whose sums are added.
        breaks: Whether the process dies, if it is not the one that started the study.
    """

    data: DataSource = images_of("train")
    inputs: tuple["SumTask", ...] = ()
    breaks: int = 0

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Add up, and tell where."""
        if self.breaks and os.getpid() != self.breaks:
            os._exit(1)
        before = [(workspace.folder(each) / "sums" / "sum.txt").read_text() for each in self.inputs]
        found = int(self.data.read().train.images.sum()) + sum(map(int, before))
        (workspace.folder(self) / "sums").mkdir(exist_ok=True)
        (workspace.folder(self) / "sums" / "sum.txt").write_text(str(found))
        return {"sum": found, "store": str(workspace.store.path), "process": os.getpid()}


@dataclass(frozen=True, kw_only=True)
class SumHere(SumTask):
    """The same, where the study was started."""

    runs_here: ClassVar[bool] = True


def note(log: Path, what: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


def lines(log: Path) -> list[str]:
    """Return what the tasks noted."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def keys(tasks: Iterable[Task]) -> set[str]:
    return {task.key for task in tasks}


def run_at_once(barrier: Any, tasks: Sequence[Task], folder: Path) -> None:
    """Wait for the other process, then run tasks."""
    barrier.wait(60)
    schedule(tasks, Store(folder), INLINE)


def finish(store: Store, task: Task, result: Mapping[str, Any], seconds: float = 1.0) -> None:
    """Record a task as finished, with a result that nothing computed."""
    store.finish(task.key, {**description(task), "result": dict(result), "seconds": seconds})
