"""What a study is made of: cells, each a computation that is recorded once under a key made of its settings."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from datacondense.renamed import former_names

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance


class Workspace(Protocol):
    """Where a cell runs."""

    @property
    def device(self) -> "torch.device":
        """Where to compute."""

    def folder(self, task: "Task") -> Path:
        """Give the folder of a cell: its own to write to, or one of its inputs to read from.

        Args:
            task: The cell.

        Returns:
            The folder; it exists.
        """


class Task(Protocol):
    """One computation of a study: a frozen record of plain values that can be pickled, and what to do with them.

    Equal settings must give equal results, whatever ran before and on whatever machine, up to rounding. Everything
    that repeats runs is made of cells: what the built-in studies use is in `datacondense.studies.tasks`.
    """

    @property
    def kind(self) -> str:
        """What it does, in a few words; cells of one kind take about the same time."""

    @property
    def inputs(self) -> Sequence["Task"]:
        """The cells that must be finished before."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that the result depends on beside the inputs, as plain JSON values, defaults filled in."""

    def run(self, place: Workspace) -> Mapping[str, Any]:
        """Compute; a cell that was stopped on the way is run again in the folder that it left.

        Args:
            place: Folders and device.

        Returns:
            The result, as plain JSON values; files beside it go to the cell's folder.
        """

    def estimate(self, device: "torch.device") -> float:
        """Time one step of each sort and extrapolate, without any input and without writing.

        Args:
            device: Where to compute.

        Returns:
            Seconds that `run` would take.
        """


def description(task: Task) -> dict[str, Any]:
    """Describe a cell completely.

    Args:
        task: The cell.

    Returns:
        Its type, its settings, and the keys of its inputs, as plain JSON values.
    """
    return {
        "cell": _type_name(type(task)),
        "settings": json.loads(json.dumps(task.settings)),
        "inputs": [task_key(source) for source in task.inputs],
    }


def _type_name(of_task: type) -> str:
    """Name a class: by its tag where it has one, whatever it is called today; else by module and name."""
    tag: str | None = getattr(of_task, "tag", None)
    return tag or f"{of_task.__module__}:{of_task.__qualname__}"


def plain_settings(config: "DataclassInstance", *, without: str | None = None) -> dict[str, Any]:
    """Write a config as plain JSON values, in which equal configs are the same text.

    Args:
        config: A config of plain values.
        without: A field that is left out.

    Returns:
        Its fields; whole numbers where a fraction could stand are written as such. A field whose default is empty,
        False or "none" is left out while it has that value, so that a new option renames nothing that was recorded.
    """
    return {
        known.name: float(value)
        if isinstance(value := getattr(config, known.name), int) and known.type in {float, float | None}
        else value
        for known in fields(config)
        if known.name != without and not _is_unused(known.default, getattr(config, known.name))
    }


def _is_unused(default: object, value: object) -> bool:
    """Tell whether an option is off as it is by default."""
    return (default is False or default in {(), "none"}) and value == default


def task_key(task: Task) -> str:
    """Name a cell by what it computes: equal descriptions have equal keys, in every study.

    Args:
        task: The cell.

    Returns:
        Sixteen hexadecimal digits.
    """
    canonical = json.dumps(former_names(description(task)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def by_depth(
    tasks: Iterable[Task], finished: Callable[[str], bool] = lambda key: False
) -> list[dict[str, Task]]:
    """Order cells and all that they need, each once, so that the inputs of a wave lie in the waves before it.

    Args:
        tasks: What is wanted.
        finished: Tells by its key whether a cell is finished; what only such cells need is left out.

    Returns:
        For each wave its cells by key, in the order in which they are first needed.
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
