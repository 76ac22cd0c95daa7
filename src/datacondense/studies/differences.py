"""The numbers of one entry of a study, differences between entries, and verdicts on published orderings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean, stdev
from typing import NamedTuple

from datacondense.studies.intervals import (
    Accuracies,
    Interval,
    bootstrap_interval,
    mean_interval,
    set_means,
)
from datacondense.studies.study import Claim, Entry, Published


@dataclass(frozen=True, kw_only=True)
class EntryResult:
    """One entry of a table.

    Attributes:
        accuracies: Accuracies, 0 to 1, by seed and number of the network.
        missing: Tasks that failed or have not run.
        origins: For each seed the key of its set; a deterministic set serves all seeds. If empty, each seed has its
            own.
        image_lrs: The learning rates that searches found for its sets, each once, in ascending order.
        condensing_seconds: Seconds that each set took, seed by seed, where recorded.
        iterations: Iterations of each set, likewise.
        shared_seconds: Seconds of the networks and features that each set was selected by, likewise.
        memory: Peak memory of each set in MiB, likewise: of the process, and the part that the set added.
        evaluating_seconds: Seconds that training and testing each network took.
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
        """The number of sets that they were trained on."""
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
    """What the results say about a published ordering.

    Attributes:
        claim: The ordering.
        difference: Mean of better - worse, 0 to 1.
        interval: Its 95 % interval.
        n: Paired networks in each entry.
        sets: Sets in each entry.
        verdict: "reproduced" if the interval lies above zero, "contradicted" if below. If it contains zero,
            "undecided", or "consistent" for an ordering that allows equality. A single set is "undecided".
        published: The difference of the published accuracies; None if some of them are unknown.
    """

    claim: Claim
    difference: float
    interval: Interval
    n: int
    sets: int
    verdict: str
    published: float | None = None


class Difference(NamedTuple):
    """The difference between an entry and the one that it is paired with.

    Of the two intervals, Student's t alone decides. Tables of small gains often print the bootstrap, but it is too
    narrow for few sets: with two or three sets that differ more than their networks do, it called a null effect real
    in 25 to 37 % of simulated trials, Student's t in 5 %.

    Attributes:
        mean: Mean over the sets of their mean difference, 0 to 1; above zero if the entry is better.
        interval: 95 % interval by Student's t over the means of the sets; infinite for a single set.
        bootstrap: 95 % interval by the bootstrap over sets and networks; infinite for a single set.
        n: Paired networks.
        sets: Sets that they were trained on, in either entry.
    """

    mean: float
    interval: Interval
    bootstrap: Interval
    n: int
    sets: int

    @property
    def verdict(self) -> str:
        """Where the interval of Student's t lies: "gain" above zero, "loss" below, "undecided" if it contains zero."""
        low, high = self.interval
        if low > 0:
            return "gain"
        return "loss" if high < 0 else "undecided"


def check_claim(
    claim: Claim, entries: Mapping[Entry, EntryResult], published: Mapping[Entry, Published] | None = None
) -> ClaimResult | None:
    """Check a published ordering.

    Networks are paired: for each seed and number, the mean over the better entries minus that over the worse ones.

    Args:
        claim: The ordering.
        entries: The numbers.
        published: The published accuracies, if any.

    Returns:
        The difference with its interval and verdict; None if no pair is finished.
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
        # One set says nothing about others.
        _verdict(low, high, strict=claim.strict) if pairs.sets > 1 else "undecided",
        _published_difference(claim, published or {}),
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
        The difference with its intervals; None if no pair is finished.
    """
    pairs = _pairs((entry,), (partner,), entries)
    if pairs is None:
        return None
    mean = fmean(set_means(pairs.differences, pairs.origins))
    # An interval over the networks of one set could be mistaken for one over sets.
    interval = mean_interval(pairs.differences, pairs.origins) if pairs.sets > 1 else (-inf, inf)
    bootstrap = bootstrap_interval(pairs.differences, pairs.origins)
    return Difference(mean, interval, bootstrap, len(pairs.differences), pairs.sets)


class _Pairs(NamedTuple):
    """Differences of networks that both sides have, and for each seed the sets that they were trained on."""

    differences: Accuracies
    origins: Mapping[int, str]

    @property
    def sets(self) -> int:
        """The number of sets; seeds share a set only if they do on both sides."""
        return len(set(self.origins.values()))


def _pairs(
    better: Sequence[Entry], worse: Sequence[Entry], entries: Mapping[Entry, EntryResult]
) -> _Pairs | None:
    """Pair networks by seed and number; None if the entries have none in common."""
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
    """Return the difference of the published accuracies, 0 to 1."""
    if not all(entry in published for entry in (*claim.better, *claim.worse)):
        return None
    better, worse = (fmean(published[entry].mean for entry in side) for side in (claim.better, claim.worse))
    return (better - worse) / 100


def _verdict(low: float, high: float, *, strict: bool) -> str:
    """Return what the interval of a difference says about an ordering."""
    if low > 0:
        return "reproduced"
    if high < 0:
        return "contradicted"
    return "undecided" if strict else "consistent"
