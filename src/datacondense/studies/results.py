"""From the records of cells to numbers: means, intervals, and paired differences for the orderings of a study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import inf, sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple, TypeAlias

from scipy.special import stdtrit

from datacondense.studies.cell import Cell, cell_key
from datacondense.studies.store import Store
from datacondense.studies.study import Claim, Entry, Published, ScoreCell, Study

Accuracies: TypeAlias = Mapping[tuple[int, int], float]  # by seed of the set and number of the network
Interval: TypeAlias = tuple[float, float]

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class EntryResult:
    """One entry of a table.

    Attributes:
        accuracies: Shares of right answers, 0 to 1, by seed and number of the network.
        missing: Cells that failed or have not run.
        origins: For each seed the key of the set; a set for which nothing is drawn serves all seeds. Where empty, each
            seed has its own.
    """

    accuracies: Accuracies
    missing: int
    origins: Mapping[int, str] = field(default_factory=dict)

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


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study and its numbers.

    Attributes:
        study: What was declared.
        entries: The numbers of each entry that is declared, finished or not.
        whole: The accuracy of the whole data set, where the study asks for it.
        environments: The environments in which its cells were computed, each once.
    """

    study: Study
    entries: Mapping[Entry, EntryResult]
    whole: EntryResult | None
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

    def read(cells: Sequence[ScoreCell]) -> EntryResult:
        accuracies: dict[tuple[int, int], float] = {}
        origins: dict[int, str] = {}
        for cell in cells:
            key = cell_key(cell)
            if store.finished(key):
                result = record(key)["result"]
                accuracies[cell.recipe.seed, cell.repeat] = result["accuracy"]
                if cell.inputs:
                    origins[cell.recipe.seed] = cell_key(cell.inputs[0])
                for environment in _environments(cell, store.finished, record):
                    environments[repr(sorted(environment.items()))] = environment
        return EntryResult(accuracies=accuracies, missing=len(cells) - len(accuracies), origins=origins)

    entries = {
        (row, column): read(study.entries[row, column])
        for row in study.rows
        for column in study.columns
        if (row, column) in study.entries
    }
    return StudyResult(
        study=study,
        entries=entries,
        whole=read(study.whole) if study.whole else None,
        environments=[environments[name] for name in sorted(environments)],
    )


def _environments(
    cell: Cell, finished: Callable[[str], bool], record: Callable[[str], dict[str, Any]]
) -> list[Mapping[str, Any]]:
    """Give the environments of a finished cell and of what it needed, as far as records say."""
    keys = [cell_key(each) for each in (cell, *cell.inputs)]
    results = [record(key)["result"] for key in keys if finished(key)]
    return [result["environment"] for result in results if "environment" in result]


def check_claim(claim: Claim, entries: Mapping[Entry, EntryResult]) -> ClaimResult | None:
    """Look for a published ordering.

    Networks are paired: for each seed and number, the mean over the better entries less that over the worse ones.

    Args:
        claim: The ordering.
        entries: The numbers.

    Returns:
        The difference with its interval and verdict; None where no pair is finished.
    """
    better, worse = (
        [entries[entry].accuracies if entry in entries else {} for entry in side]
        for side in (claim.better, claim.worse)
    )
    common = set.intersection(*(set(accuracies) for accuracies in [*better, *worse]))
    if not common:
        return None
    differences = {
        pair: fmean(a[pair] for a in better) - fmean(a[pair] for a in worse) for pair in sorted(common)
    }
    seeds = {seed for seed, _ in common}
    # Seeds are one set only where they are so on all sides.
    sides = [entries[entry].origins for entry in (*claim.better, *claim.worse)]
    origins = {seed: "/".join(side.get(seed, str(seed)) for side in sides) for seed in seeds}
    sets = len(set(origins.values()))
    low, high = mean_interval(differences, origins)
    return ClaimResult(
        claim,
        fmean(differences.values()),
        (low, high),
        len(common),
        sets,
        # One set says nothing of others.
        _verdict(low, high, strict=claim.strict) if sets > 1 else "undecided",
    )


def mean_interval(values: Accuracies, origins: Mapping[int, str] | None = None) -> Interval:
    """Give the 95 % interval of a mean: Student's t over the means of the sets, with one degree of freedom less.

    Networks trained on one set share its luck and are no independent sample of what the method does; a bootstrap of
    a handful of sets gives intervals that are far too narrow. With a single set the interval is over its networks and
    speaks of that set alone.

    Args:
        values: Numbers by seed of the set and number of the network.
        origins: For each seed the set, where some seeds share one.

    Returns:
        Both ends; infinite for a single number, which has no spread.
    """
    groups: dict[int | str, list[float]] = {}
    for (seed, _), value in sorted(values.items()):
        groups.setdefault((origins or {}).get(seed, seed), []).append(value)
    sample = list(values.values()) if len(groups) == 1 else [fmean(group) for group in groups.values()]
    if len(sample) < 2:
        return -inf, inf
    half = float(stdtrit(len(sample) - 1, (1 + _LEVEL) / 2)) * stdev(sample) / sqrt(len(sample))
    return fmean(sample) - half, fmean(sample) + half


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
