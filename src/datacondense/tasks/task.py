"""What a task is: a frozen dataclass, recorded once under a key made of its fields."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar

from datacondense.data.data_source import DataSource
from datacondense.renamed import former_task, is_built_in
from datacondense.settings import plain_settings
from datacondense.tasks.store import Workspace, key_of


@dataclass(frozen=True, kw_only=True)
class Task:
    """One recorded unit of work: a frozen dataclass whose `run` computes a result.

    A field that is a task, or a tuple or mapping of tasks, is an input, which runs first. All other fields are
    settings: plain values, dataclasses of plain values, or a `DataSource` or a tuple of them, which count by the
    content of their images.
    Equal fields must give equal results up to rounding, on any machine and whatever ran before: the key of the record
    is the hash of inputs, settings (without those at their default), `tag` and `version`.

    Attributes:
        tag: Name of the class in keys, which outlives a new name of the class. Default: its module and name.
        version: To be raised when the computation changes, so that an old result is never taken for a new one.
        runs_here: Whether it must run where the study was started, since it reads a file of the user's.
    """

    tag: ClassVar[str] = ""
    version: ClassVar[int] = 1
    runs_here: ClassVar[bool] = False

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Compute the result; an interrupted task is run again in the folder that it left.

        Args:
            workspace: `workspace.folder(task)` is the folder of this task or of an input, `workspace.result(task)` the
                result of an input, `workspace.device` the device to compute on.

        Returns:
            The result, as plain JSON values; larger files go to the task's folder.

        Raises:
            NotImplementedError: The class has no `run`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run(workspace).")

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits: equal tasks have equal keys, in every study."""
        return key_of(former_task(description(self)))

    @property
    def label(self) -> str:
        """What it does, in a few words; tasks of one label take about the same time."""
        return type(self).__name__

    @property
    def length(self) -> float | None:
        """How many times the work of the shortest pilot `run` does; None if it is short itself."""
        return None

    def shortened(self, length: int) -> "Task":
        """Return a task of the same kind that is as short as a pilot must be.

        Args:
            length: How long, as a multiple of the shortest pilot.

        Returns:
            The short task.
        """
        return self


def images_of(*parts: str) -> Any:
    """Return a field for a `DataSource` that counts by parts of its content: "train", "test", "mean", "std"."""
    return field(metadata={"content": parts})


TRAINING = ("train", "mean", "std")


def inputs_of(task: Task) -> tuple[Task, ...]:
    """Return the tasks that must finish first, in the order of the fields."""
    return tuple(one for known in fields(task) for one in tasks_in(getattr(task, known.name)))


def sources_of(task: Task) -> tuple[DataSource, ...]:
    """Return the data sets of a task."""
    return tuple(one for known in fields(task) for one in _sources_in(getattr(task, known.name)))


def settings_of(task: Task) -> dict[str, Any]:
    """Return the settings of a task as plain JSON values, the same text for equal settings."""
    found: dict[str, Any] = {}
    for known in fields(task):
        value = getattr(task, known.name)
        if sources := _sources_in(value):
            parts = [
                {part: source.content[part] for part in known.metadata.get("content", source.content)}
                for source in sources
            ]
            found[known.name] = parts[0] if isinstance(value, DataSource) else parts
        elif next(tasks_in(value), None) is not None:
            if not is_built_in(task.tag):
                found[known.name] = _with_keys(value)
            elif isinstance(value, Mapping):  # as in the keys of the first release
                found[known.name] = list(value)
        elif value != known.default:
            found[known.name] = recorded_settings(value) if is_dataclass(value) else _plain(value, known.type)
    return found


def _sources_in(value: Any) -> tuple[DataSource, ...]:
    """Return the data sets in the value of a field."""
    sources = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in sources if isinstance(each, DataSource))


def _with_keys(value: Any) -> Any:
    """Return the value of a field with the keys of its tasks: it matters which input is where."""
    if isinstance(value, Mapping):
        return [[name, _with_keys(each)] for name, each in value.items()]
    if isinstance(value, tuple):
        return [_with_keys(each) for each in value]
    return value.key if isinstance(value, Task) else value


def _plain(value: Any, declared: Any) -> Any:
    """Return the value of a field; an integer as float where the field is one."""
    return float(value) if isinstance(value, int) and declared in {float, float | None} else value


def tasks_in(value: Any) -> Iterator[Task]:
    """Yield the tasks in the value of a field."""
    if isinstance(value, Task):
        yield value
    elif isinstance(value, tuple | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from tasks_in(each)


def recorded_settings(settings: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values: a method with its name, an integer as float where the field is one.

    Options whose default is off are left out while they are, so that a new one does not change the keys of recorded
    tasks.
    """
    plain = plain_settings(settings)
    named = {"name": settings.name} if hasattr(settings, "name") else {}
    return named | {
        known.name: _plain(value, known.type)
        for known in fields(settings)
        if known.name in plain
        and ((value := plain[known.name]) != known.default or not _is_off(known.default))
    }


def _is_off(default: object) -> bool:
    return default is False or default in ((), "none")


def description(task: Task) -> dict[str, Any]:
    """Return a task as plain JSON values: its type, its settings and the keys of its inputs."""
    kind = type(task)
    found = {
        "cell": task.tag or f"{kind.__module__}:{kind.__qualname__}",  # the name since the first release
        "settings": json.loads(json.dumps(settings_of(task))),
        "inputs": [source.key for source in inputs_of(task)],
    }
    return found if task.version == 1 else {**found, "version": task.version}


def graph_of(tasks: Iterable[Task], finished: Callable[[str], bool] = lambda key: False) -> dict[str, Task]:
    """Return tasks and all that they need by key, each once and after its inputs.

    What only `finished` tasks need is left out.
    """
    found: dict[str, Task] = {}

    def visit(task: Task) -> None:
        key = task.key
        if key not in found:
            for each in () if finished(key) else inputs_of(task):
                visit(each)
            found[key] = task

    for task in tasks:
        visit(task)
    return found
