"""The numbers of a study from the records of its tasks: accuracies, paired differences, verdicts on orderings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from datacondense.studies.differences import (
    ClaimResult,
    Difference,
    EntryResult,
    check_claim,
    paired_difference,
)
from datacondense.studies.learning_rate_search import SearchLearningRate
from datacondense.studies.store import Store
from datacondense.studies.study import Entry, ScoreTask, Study
from datacondense.studies.task import Task, task_key


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study and its numbers.

    Attributes:
        study: The declaration.
        entries: The numbers of each declared entry, finished or not.
        full: The numbers of full training; None if the study has none.
        environments: The environments in which its tasks were computed, each once.
    """

    study: Study
    entries: Mapping[Entry, EntryResult]
    full: EntryResult | None
    environments: Sequence[Mapping[str, Any]]

    @property
    def claims(self) -> list[ClaimResult]:
        """The published orderings that the finished tasks can check."""
        found = (check_claim(claim, self.entries, self.study.published) for claim in self.study.claims)
        return [result for result in found if result is not None]

    @property
    def differences(self) -> Mapping[Entry, Difference]:
        """The difference of each paired entry to its partner, row by row, if both have finished networks in common."""
        paired = self.study.paired
        found = {
            entry: paired_difference(entry, paired[entry], self.entries)
            for entry in self.entries
            if entry in paired
        }
        return {entry: difference for entry, difference in found.items() if difference is not None}

    @property
    def known(self) -> Mapping[Entry, EntryResult]:
        """The entries that have numbers, row by row."""
        return {
            entry: self.entries[entry]
            for entry in product(self.study.rows, self.study.columns)
            if entry in self.entries and self.entries[entry].n
        }


def collect(study: Study, store: Store) -> StudyResult:
    """Read the records of a study's tasks.

    Args:
        study: The study.
        store: The records.

    Returns:
        The numbers of the finished tasks.
    """
    environments: dict[str, Mapping[str, Any]] = {}
    record = cache(store.record)  # many networks share a set

    def result(key: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = record(key)["result"] if store.finished(key) else {}
        return found

    def seconds(key: str) -> float | None:
        return record(key)["seconds"] if store.finished(key) else None

    def read(tasks: Sequence[ScoreTask]) -> EntryResult:
        accuracies: dict[tuple[int, int], float] = {}
        sets: dict[int, Task] = {}
        for task in tasks:
            key = task_key(task)
            if store.finished(key):
                accuracies[task.protocol.seed, task.repeat] = result(key)["accuracy"]
                if task.inputs:
                    sets[task.protocol.seed] = task.inputs[0]
                for environment in _environments(task, result):
                    environments[repr(sorted(environment.items()))] = environment
        origins = {seed: task_key(made) for seed, made in sets.items()}
        distinct = {origins[seed]: sets[seed] for seed in sorted(sets)}
        finished = (key for key in map(task_key, tasks) if store.finished(key))
        return EntryResult(
            accuracies=accuracies,
            missing=len(tasks) - len(accuracies),
            origins=origins,
            evaluating_seconds=tuple(record(key)["seconds"] for key in finished) if study.ratios else (),
            **_set_numbers([result(key) for key in distinct]),
            shared_seconds=_shared_seconds(distinct.values(), seconds) if study.ratios else (),
        )

    entries = {
        (row, column): read(study.entries[row, column])
        for row in study.rows
        for column in study.columns
        if (row, column) in study.entries
    }
    return StudyResult(
        study=study,
        entries=entries,
        full=read(study.full) if study.full else None,
        environments=[environments[name] for name in sorted(environments)],
    )


def _set_numbers(sets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collect the numbers that the records of sets have."""
    return {
        "image_lrs": tuple(sorted({made["image_lr"] for made in sets if "image_lr" in made})),
        "condensing_seconds": tuple(
            made["condensing_seconds"] for made in sets if "condensing_seconds" in made
        ),
        "iterations": tuple(made["iterations"] for made in sets if "iterations" in made),
        "memory": tuple(
            (made["memory"]["peak"], made["memory"]["added"]) for made in sets if "memory" in made
        ),
    }


def _shared_seconds(sets: Iterable[Task], seconds: Callable[[str], float | None]) -> tuple[float, ...]:
    """Return for each set the seconds of all that it was made from, if all of it is recorded."""
    found = ([seconds(key) for key in _made_from(task)] for task in sets)
    return tuple(sum((one for one in each if one is not None), 0.0) for each in found if None not in each)


def _made_from(task: Task) -> list[str]:
    """Return the keys of the tasks that a set was made from, without its learning-rate search."""
    needed: dict[str, Task] = {}

    def visit(tasks: Sequence[Task]) -> None:
        for each in tasks:
            if not isinstance(each, SearchLearningRate):
                needed[task_key(each)] = each
                visit(each.inputs)

    visit(task.inputs)
    return list(needed)


def _environments(task: Task, result: Callable[[str], Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the recorded environments of a finished task and of its inputs."""
    results = [result(task_key(each)) for each in (task, *task.inputs)]
    return [found["environment"] for found in results if "environment" in found]
