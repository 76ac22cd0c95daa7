"""From the records of cells to numbers: accuracies, paired differences, and what they say of orderings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import inf
from statistics import fmean, stdev
from typing import Any, NamedTuple

from datacondense.studies.intervals import (
    Accuracies,
    Interval,
    bootstrap_interval,
    mean_interval,
    set_means,
)
from datacondense.studies.learning_rate_search import SearchLearningRate
from datacondense.studies.store import Store
from datacondense.studies.study import Claim, Entry, Published, ScoreTask, Study
from datacondense.studies.task import Task, task_key


@dataclass(frozen=True, kw_only=True)
class EntryResult:
    """One entry of a table.

    Attributes:
        accuracies: Shares of right answers, 0 to 1, by seed and number of the network.
        missing: Cells that failed or have not run.
        origins: For each seed the key of the set; a set for which nothing is drawn serves all seeds. Where empty, each
            seed has its own.
        image_lrs: The learning rates that its sets chose for themselves, each once, in rising order.
        condensing_seconds: For each set, seed by seed, how long it took to learn; without sets that were not learned.
        iterations: Outer draws of each, likewise, where records say it.
        shared_seconds: How long the networks and features took that its sets were chosen by, likewise.
        memory: Peak memory of learning each set, likewise, in MiB: of the process, and what was added to it.
        evaluating_seconds: How long training and testing each network took, network by network.
    """

    accuracies: Accuracies
    missing: int
    origins: Mapping[int, str] = field(default_factory=dict)
    image_lrs: tuple[float, ...] = ()
    condensing_seconds: tuple[float, ...] = ()
    iterations: tuple[float, ...] = ()
    shared_seconds: tuple[float, ...] = ()
    memory: tuple[tuple[float, float], ...] = ()
    evaluating_seconds: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """The number of networks."""
        return len(self.accuracies)

    @property
    def sets(self) -> int:
        """The number of image sets that they were trained on."""
        return len({self.origins.get(seed, seed) for seed, _ in self.accuracies})

    @property
    def mean(self) -> float:
        """Mean accuracy, 0 to 1."""
        return fmean(self.accuracies.values())

    @property
    def std(self) -> float:
        """Standard deviation over networks (n - 1 in the denominator); 0 for a single network."""
        return stdev(self.accuracies.values()) if self.n > 1 else 0.0

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean, see `mean_interval`."""
        return mean_interval(self.accuracies, self.origins)


class ClaimResult(NamedTuple):
    """What the results say of a published ordering.

    Attributes:
        claim: The ordering.
        difference: Mean of better - worse, 0 to 1.
        interval: Its 95 % interval.
        n: Networks in each entry that could be paired.
        sets: Image sets in each entry.
        published: The same difference of the published accuracies; None where some of them are unknown.
        verdict: "reproduced" (the interval lies above zero), "contradicted" (below), or, where it holds zero,
            "undecided", and "consistent" for an ordering that allows equality; "undecided" also for a single set.
    """

    claim: Claim
    difference: float
    interval: Interval
    n: int
    sets: int
    verdict: str
    published: float | None = None


class Difference(NamedTuple):
    """What an entry is above the one that it is paired with.

    Two intervals are given, and Student's t alone decides. The bootstrap is what tables of small gains often print, but
    with few sets it is too narrow: with two or three that differ more than their networks do, it called a null effect
    real in 25 to 37 % of simulated trials, where t keeps to one in twenty.

    Attributes:
        mean: Mean over the sets of their mean difference, 0 to 1; above zero where the entry is better.
        interval: 95 % interval of Student's t over the means of the sets; infinite for a single set.
        bootstrap: 95 % interval of the bootstrap over sets and networks; infinite for a single set.
        n: Networks that could be paired.
        sets: Image sets that they were trained on, of either entry.
    """

    mean: float
    interval: Interval
    bootstrap: Interval
    n: int
    sets: int

    @property
    def verdict(self) -> str:
        """Where the interval of Student's t lies: "gain" above zero, "loss" below, "undecided" where it holds zero."""
        low, high = self.interval
        if low > 0:
            return "gain"
        return "loss" if high < 0 else "undecided"


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study and its numbers.

    Attributes:
        study: What was declared.
        entries: The numbers of each entry that is declared, finished or not.
        full: The accuracy of the whole data set, where the study asks for it.
        environments: The environments in which its cells were computed, each once.
    """

    study: Study
    entries: Mapping[Entry, EntryResult]
    full: EntryResult | None
    environments: Sequence[Mapping[str, Any]]

    @property
    def claims(self) -> list[ClaimResult]:
        """The published orderings that the finished cells can speak of."""
        found = (check_claim(claim, self.entries) for claim in self.study.claims)
        return [
            result._replace(published=_published_difference(result.claim, self.study.published))
            for result in found
            if result is not None
        ]

    @property
    def differences(self) -> Mapping[Entry, Difference]:
        """For each paired entry, row by row, what it is above its partner, as far as networks of both are finished."""
        paired = self.study.paired
        places = [place for place in self.entries if place in paired]
        found = {place: paired_difference(place, paired[place], self.entries) for place in places}
        return {place: difference for place, difference in found.items() if difference is not None}

    @property
    def known(self) -> Mapping[Entry, EntryResult]:
        """The entries that have numbers, row by row."""
        places = product(self.study.rows, self.study.columns)
        return {
            place: self.entries[place] for place in places if place in self.entries and self.entries[place].n
        }


def collect(study: Study, store: Store) -> StudyResult:
    """Read the records of a study's cells.

    Args:
        study: The study.
        store: Where the records are.

    Returns:
        Its numbers, from the finished cells.
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
    """Gather what the records of sets say of learning them."""
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
    """Give for each set the seconds of all that it was made from, where the records of all are there."""
    found = ([seconds(key) for key in _made_from(task)] for task in sets)
    return tuple(sum((one for one in each if one is not None), 0.0) for each in found if None not in each)


def _made_from(task: Task) -> list[str]:
    """List the keys of the cells that a set was made from, without the choice of its learning rate."""
    needed: dict[str, Task] = {}

    def visit(tasks: Sequence[Task]) -> None:
        for each in tasks:
            if not isinstance(each, SearchLearningRate):
                needed[task_key(each)] = each
                visit(each.inputs)

    visit(task.inputs)
    return list(needed)


def _environments(task: Task, result: Callable[[str], Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the environments of a finished cell and of what it needed, as far as records say."""
    results = [result(task_key(each)) for each in (task, *task.inputs)]
    return [found["environment"] for found in results if "environment" in found]


def check_claim(claim: Claim, entries: Mapping[Entry, EntryResult]) -> ClaimResult | None:
    """Look for a published ordering.

    Networks are paired: for each seed and number, the mean over the better entries less that over the worse ones.

    Args:
        claim: The ordering.
        entries: The numbers.

    Returns:
        The difference with its interval and verdict; None where no pair is finished.
    """
    pairs = _pairs(claim.better, claim.worse, entries)
    if pairs is None:
        return None
    low, high = mean_interval(pairs.differences, pairs.origins)
    return ClaimResult(
        claim,
        fmean(pairs.differences.values()),
        (low, high),
        len(pairs.differences),
        pairs.sets,
        # One set says nothing of others.
        _verdict(low, high, strict=claim.strict) if pairs.sets > 1 else "undecided",
    )


def paired_difference(
    entry: Entry, partner: Entry, entries: Mapping[Entry, EntryResult]
) -> Difference | None:
    """Compare two entries, network by network as in `check_claim`.

    Args:
        entry: The entry.
        partner: What it is compared with.
        entries: The numbers.

    Returns:
        The difference with its intervals; None where no pair is finished.
    """
    pairs = _pairs((entry,), (partner,), entries)
    if pairs is None:
        return None
    mean = fmean(set_means(pairs.differences, pairs.origins))
    # The interval over the networks of one set would be taken for one over sets.
    interval = mean_interval(pairs.differences, pairs.origins) if pairs.sets > 1 else (-inf, inf)
    bootstrap = bootstrap_interval(pairs.differences, pairs.origins)
    return Difference(mean, interval, bootstrap, len(pairs.differences), pairs.sets)


class _Pairs(NamedTuple):
    """Differences of networks that both sides have, and for each seed the sets that both were trained on."""

    differences: Accuracies
    origins: Mapping[int, str]

    @property
    def sets(self) -> int:
        """Seeds are one set only where they are so on all sides."""
        return len(set(self.origins.values()))


def _pairs(
    better: Sequence[Entry], worse: Sequence[Entry], entries: Mapping[Entry, EntryResult]
) -> _Pairs | None:
    """Pair networks by seed and number; None where all entries have none in common."""
    sides = [
        [entries[entry].accuracies if entry in entries else {} for entry in side] for side in (better, worse)
    ]
    common = set.intersection(*(set(accuracies) for side in sides for accuracies in side))
    if not common:
        return None
    differences = {
        pair: fmean(a[pair] for a in sides[0]) - fmean(a[pair] for a in sides[1]) for pair in sorted(common)
    }
    origins = [entries[entry].origins for entry in (*better, *worse)]
    return _Pairs(
        differences,
        {seed: "/".join(of.get(seed, str(seed)) for of in origins) for seed in {seed for seed, _ in common}},
    )


def _published_difference(claim: Claim, published: Mapping[Entry, Published]) -> float | None:
    """Give the difference of the published accuracies, 0 to 1."""
    if not all(entry in published for entry in (*claim.better, *claim.worse)):
        return None
    better, worse = (fmean(published[entry].mean for entry in side) for side in (claim.better, claim.worse))
    return (better - worse) / 100


def _verdict(low: float, high: float, *, strict: bool) -> str:
    """Say what an interval of a difference says of an ordering."""
    if low > 0:
        return "reproduced"
    if high < 0:
        return "contradicted"
    return "undecided" if strict else "consistent"
