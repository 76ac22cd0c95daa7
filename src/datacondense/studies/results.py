"""The numbers of a study: one tidy frame with a line for each network, and what follows from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import inf, isfinite, nan
from statistics import fmean, stdev
from typing import Any, NamedTuple

import pandas as pd

from datacondense.studies.statistics import (
    Groups,
    bootstrap_interval,
    difference_verdict,
    mean_interval,
    ordering_verdict,
)
from datacondense.studies.study import Claim, Entry, ScoreTask, Study
from datacondense.studies.tasks import SearchLearningRate
from datacondense.tasks.store import Store
from datacondense.tasks.task import Task, inputs_of

FULL = "full data set"  # the row of full training in the frame; its column is "all"
OF_SETS = ("image_lr", "condensing_seconds", "iterations", "shared_seconds", "memory_peak", "memory_added")
COLUMNS = ("row", "column", "seed", "network", "accuracy", "set", *OF_SETS, "evaluating_seconds")


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study and its numbers.

    Attributes:
        study: The declaration.
        frame: A line for each network, with `COLUMNS`: accuracy from 0 to 1, NaN if it is missing; `set` is the key of
            the set that it was trained on, whose numbers follow.
        environments: The environments in which its tasks were computed, each once.
    """

    study: Study
    frame: pd.DataFrame
    environments: Sequence[Mapping[str, Any]]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A line for each declared entry, row by row: n, sets, missing, mean, std, ends of the interval, costs."""
        lines = dict(list(self.frame.groupby(["row", "column"], sort=False)))
        entries = [entry for entry in product(self.study.rows, self.study.columns) if entry in lines]
        index = pd.MultiIndex.from_tuples(entries, names=["row", "column"]) if entries else None
        return pd.DataFrame([_numbers(lines[entry]) for entry in entries], index, columns=_NUMBERS)

    @cached_property
    def full(self) -> pd.Series | None:
        """The numbers of full training, as in `table`; None if the study has none."""
        lines = self.frame[self.frame["row"] == FULL]
        return None if lines.empty else pd.Series(_numbers(lines))

    @cached_property
    def differences(self) -> pd.DataFrame:
        """The difference of each paired entry to its partner, network by network, where both have finished.

        Of the two intervals Student's t alone decides. A single set has neither.
        """
        found = {}
        for entry in self.table.index:
            pairs = (
                self._paired((entry,), (self.study.paired[entry],)) if entry in self.study.paired else None
            )
            if pairs is not None:
                low, high = mean_interval(pairs.groups) if pairs.sets > 1 else (-inf, inf)
                mean = fmean(fmean(group) for group in pairs.groups)
                ends = [
                    end if isfinite(end) else nan for end in (low, high, *bootstrap_interval(pairs.groups))
                ]
                found[entry] = [mean, *ends, pairs.n, pairs.sets, difference_verdict((low, high))]
        index = pd.MultiIndex.from_tuples(found, names=["row", "column"]) if found else None
        return pd.DataFrame(list(found.values()), index, columns=_DIFFERENCE)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The published orderings that finished networks can check, with their verdicts."""
        found = [line for claim in self.study.claims if (line := self._checked(claim)) is not None]
        return pd.DataFrame(found, columns=_CLAIM)

    def _checked(self, claim: Claim) -> list[Any] | None:
        """Check an ordering: networks are paired by the seed of their set and their number."""
        pairs = self._paired(claim.better, claim.worse)
        if pairs is None:
            return None
        interval = mean_interval(pairs.groups)
        verdict = ordering_verdict(interval, pairs.sets, strict=claim.strict)
        ends = [end if isfinite(end) else nan for end in interval]
        mean = fmean(value for group in pairs.groups for value in group)
        return [claim.text, mean, *ends, pairs.n, pairs.sets, pairs.size, verdict, self._published(claim)]

    def _published(self, claim: Claim) -> float:
        """Return the difference of the published accuracies, 0 to 1; NaN if some are unknown."""
        known = self.study.published
        if not all(entry in known for entry in (*claim.better, *claim.worse)):
            return nan
        better, worse = (fmean(known[entry].mean for entry in side) for side in (claim.better, claim.worse))
        return (better - worse) / 100

    def _paired(self, better: Sequence[Entry], worse: Sequence[Entry]) -> "_Pairs | None":
        """Pair networks by seed and number: the mean over the better entries minus that over the worse ones.

        Seeds share a set only if they do in every entry. None if the entries have no network in common.
        """
        entries = [*better, *worse]
        lines = [
            self._finished[self._finished.index.get_level_values("entry") == entry].droplevel("entry")
            for entry in map(_label, entries)
        ]
        common = sorted(set.intersection(*(set(each.index) for each in lines)))
        if not common:
            return None
        values = [each["accuracy"].loc[common].tolist() for each in lines]
        sides = (values[: len(better)], values[len(better) :])
        means = [[fmean(pair) for pair in zip(*side, strict=True)] for side in sides]
        sets = ["/".join(keys) for keys in zip(*(each["set"].loc[common] for each in lines), strict=True)]
        return _Pairs([a - b for a, b in zip(*means, strict=True)], sets)

    @cached_property
    def _finished(self) -> pd.DataFrame:
        """The finished networks by entry, seed and number."""
        lines = self.frame.dropna(subset="accuracy")
        entry = [_label(entry) for entry in zip(lines["row"], lines["column"], strict=True)]
        return lines.assign(entry=entry).set_index(["entry", "seed", "network"])


def collect(study: Study, store: Store) -> StudyResult:
    """Return the numbers of the finished tasks of a study."""
    record = cache(lambda key: store.record(key) if store.finished(key) else {})  # many networks share a set
    environments: dict[str, Mapping[str, Any]] = {}

    def line(entry: Entry, task: ScoreTask) -> dict[str, Any]:
        own, inputs = record(task.key), inputs_of(task)
        for found in (own, *(record(each.key) for each in inputs)) if own else ():
            if environment := found.get("result", {}).get("environment"):
                environments[repr(sorted(environment.items()))] = environment
        # A network that is not trained on one set stands for itself.
        source = getattr(task, "source", None)
        made = record(source.key) if source else {}
        return {
            **dict(zip(("row", "column"), entry, strict=True)),
            "seed": task.protocol.seed,
            "network": task.repeat,
            "accuracy": own["result"]["accuracy"] if own else nan,
            "set": source.key if source else str(task.protocol.seed),
            **_set_numbers(made.get("result", {})),
            "shared_seconds": _shared_seconds(source, record) if source else nan,
            "evaluating_seconds": own.get("seconds", nan),
        }

    lines = [
        line(entry, task)
        for entry, tasks in [*study.entries.items(), ((FULL, "all"), study.full)]
        for task in tasks
    ]
    known = [environments[name] for name in sorted(environments)]
    return StudyResult(study=study, frame=pd.DataFrame(lines, columns=COLUMNS), environments=known)


class _Pairs(NamedTuple):
    """Differences of paired networks, and the set of each."""

    differences: list[float]
    origins: list[str]

    @property
    def n(self) -> int:
        return len(self.differences)

    @property
    def groups(self) -> Groups:
        """The differences of each set."""
        found: dict[str, list[float]] = {}
        for origin, difference in zip(self.origins, self.differences, strict=True):
            found.setdefault(origin, []).append(difference)
        return list(found.values())

    @property
    def sets(self) -> int:
        return len(set(self.origins))

    @property
    def size(self) -> str:
        return size(self.origins)


def size(origins: Sequence[str]) -> str:
    """Return the number of networks and of the sets that they were trained on, such as "21 (3 × 7)"."""
    counts = Counter(origins)
    if len(set(counts.values())) == 1:
        return f"{len(origins)} ({len(counts)} × {len(origins) // len(counts)})"
    return f"{len(origins)} (on {len(counts)} sets)"


_NUMBERS = (
    *("n", "sets", "size", "missing", "mean", "std", "low", "high", "image_lrs"),
    *OF_SETS[1:],
    "evaluating_seconds",
)
_DIFFERENCE = ("difference", "low", "high", "bootstrap_low", "bootstrap_high", "n", "sets", "verdict")
_CLAIM = ("text", "difference", "low", "high", "n", "sets", "size", "verdict", "published")


def _label(entry: Entry) -> str:
    """Return one text for a row and a column, which no other pair gives."""
    return repr(tuple(entry))


def _numbers(lines: pd.DataFrame) -> dict[str, Any]:
    """Return the numbers of one entry."""
    finished = lines.dropna(subset="accuracy").sort_values(["seed", "network"])
    values, origins = finished["accuracy"].tolist(), finished["set"].tolist()
    groups = _Pairs(values, origins).groups
    low, high = mean_interval(groups) if groups else (-inf, inf)
    sets = finished.drop_duplicates("set")
    return {
        "n": len(values),
        "sets": len(groups),
        "size": size(origins) if origins else "0",
        "missing": len(lines) - len(values),
        "mean": fmean(values) if values else nan,
        "std": stdev(values) if len(values) > 1 else nan,
        "low": low if isfinite(low) else nan,
        "high": high if isfinite(high) else nan,
        "image_lrs": tuple(sorted(set(sets["image_lr"].dropna()))),
        **{name: sets[name].mean() for name in OF_SETS[1:]},
        "evaluating_seconds": finished["evaluating_seconds"].mean(),
    }


def _set_numbers(made: Mapping[str, Any]) -> dict[str, float]:
    """Return what the record of a set tells."""
    names = ("image_lr", "condensing_seconds", "iterations")
    memory = made.get("memory", {})
    return {
        **{name: made.get(name, nan) for name in names},
        **{f"memory_{name}": memory.get(name, nan) for name in ("peak", "added")},
    }


def _shared_seconds(task: Task, record: Any) -> float:
    """Return the seconds of all that a set was made from but its learning-rate search; NaN if some is not recorded."""
    needed: dict[str, Task] = {}

    def visit(tasks: Sequence[Task]) -> None:
        for each in tasks:
            if not isinstance(each, SearchLearningRate):
                needed[each.key] = each
                visit(inputs_of(each))

    visit(inputs_of(task))
    return sum((record(key).get("seconds", nan) for key in needed), 0.0)
