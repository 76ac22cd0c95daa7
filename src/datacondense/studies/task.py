"""What a study consists of: tasks, each a computation recorded once under a key made of its settings."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import torch

from datacondense import settings
from datacondense.renamed import former_names


class Workspace(Protocol):
    """The folders and the device that a running task uses."""

    @property
    def device(self) -> torch.device:
        """The device to compute on."""

    def folder(self, task: "Task") -> Path:
        """Return the folder of a task: its own to write to, or that of an input to read from.

        Args:
            task: The task.

        Returns:
            The folder; it exists.
        """


class Task(Protocol):
    """One computation of a study: a frozen, picklable dataclass of plain values, with the method that computes it.

    Equal settings must give equal results up to rounding, on any machine and whatever ran before. The tasks of the
    built-in studies are in `datacondense.studies.tasks`.
    """

    @property
    def kind(self) -> str:
        """What the task does, in a few words; tasks of one kind take about the same time."""

    @property
    def inputs(self) -> Sequence["Task"]:
        """The tasks that must finish first."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that the result depends on besides the inputs, as plain JSON values with defaults filled in."""

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute the result; an interrupted task is run again in the folder that it left.

        Args:
            workspace: Folders and device.

        Returns:
            The result, as plain JSON values; larger files go to the task's folder.
        """

    def estimate(self, device: torch.device) -> float:
        """Time one step of each sort and extrapolate, without inputs and without writing anything.

        Args:
            device: The device to compute on.

        Returns:
            Seconds that `run` would take.
        """


def description(task: Task) -> dict[str, Any]:
    """Return a complete description of a task.

    Args:
        task: The task.

    Returns:
        Its type, its settings and the keys of its inputs, as plain JSON values.
    """
    return {
        "cell": _type_name(type(task)),  # the name on disk, and in every key, since the first release
        "settings": json.loads(json.dumps(task.settings)),
        "inputs": [task_key(source) for source in task.inputs],
    }


def _type_name(task_type: type) -> str:
    """Return a class's tag, which outlives a new name of the class; without a tag its module and name."""
    tag: str | None = getattr(task_type, "tag", None)
    return tag or f"{task_type.__module__}:{task_type.__qualname__}"


def plain_settings(config: Any, *, without: str | None = None) -> dict[str, Any]:
    """Return a config as plain JSON values that are the same text for equal configs.

    Args:
        config: A dataclass of plain values.
        without: A field to leave out.

    Returns:
        Its fields; an integer in a field of type float becomes a float. A field whose default is empty, False or "none"
        is left out while it has that value, so that a new option does not change the keys of recorded tasks.
    """
    plain = settings.plain_settings(config)
    return {
        known.name: float(value)
        if isinstance(value := plain[known.name], int) and known.type in {float, float | None}
        else value
        for known in fields(config)
        if known.name != without and not _is_unused(known.default, getattr(config, known.name))
    }


def _is_unused(default: object, value: object) -> bool:
    """Return whether an option is off, as it is by default."""
    return (default is False or default in {(), "none"}) and value == default


def task_key(task: Task) -> str:
    """Return the key of a task: equal descriptions have equal keys, in every study.

    Args:
        task: The task.

    Returns:
        Sixteen hexadecimal digits.
    """
    canonical = json.dumps(former_names(description(task)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def by_depth(
    tasks: Iterable[Task], finished: Callable[[str], bool] = lambda key: False
) -> list[dict[str, Task]]:
    """Group tasks and all that they need, each once, so that inputs come in earlier groups.

    Args:
        tasks: The tasks to run.
        finished: Whether the task with a key is finished; what only finished tasks need is left out.

    Returns:
        For each group its tasks by key, in the order in which they are first needed.
    """
    depths: dict[str, int] = {}
    found: dict[str, Task] = {}

    def visit(task: Task) -> int:
        key = task_key(task)
        if key not in depths:
            needed = () if finished(key) else task.inputs
            depths[key] = 1 + max((visit(source) for source in needed), default=-1)
            found[key] = task
        return depths[key]

    for task in tasks:
        visit(task)
    return [
        {key: task for key, task in found.items() if depths[key] == depth}
        for depth in range(max(depths.values(), default=-1) + 1)
    ]
