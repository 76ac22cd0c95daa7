"""From accuracies to tables: means and intervals by hand and by simulation, and what is said of orderings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from datacondense.condensation import GradientMatchingConfig
from datacondense.studies import CellFactory, Claim, Published, Study, StudyConfig
from datacondense.studies.cell import cell_key
from datacondense.studies.results import Accuracies, EntryResult, check_claim, collect, mean_interval
from datacondense.studies.store import Store
from datacondense.studies.study import grid
from tests.studies.made_cells import MNIST


def entry(accuracies: Accuracies) -> EntryResult:
    return EntryResult(accuracies=accuracies, missing=0)


def numbers(*groups: list[float]) -> dict[tuple[int, int], float]:
    """Name each number by its set and its network."""
    return {(s, n): value for s, group in enumerate(groups) for n, value in enumerate(group)}


def study() -> Study:
    """Two rows, of which one has two columns, of two sets and three networks each."""
    cells = CellFactory(
        data=MNIST, config=StudyConfig(seeds=2, repeats=3, method=GradientMatchingConfig(network="mlp"))
    )
    entries = grid(
        cells,
        rows={"a": cells.condensed(), "b": cells.condensed(distance="squared")},
        columns={"c": {}, "d": {"network": "lenet"}},
    )
    del entries["b", "d"]
    return Study(
        name="made",
        title="?",
        rows=("a", "b"),
        columns=("c", "d"),
        row_axis="r",
        column_axis="c",
        entries=entries,
        claims=(Claim(text="a > b", better=(("a", "c"),), worse=(("b", "c"),)),),
        whole=cells.whole(),
    )


def test_records_become_entries_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    values = {("a", "c"): (0.5, 0.6, 0.7, 0.8), ("b", "c"): (0.4, 0.4, 0.5, 0.6, 0.1)}
    for place, accuracies in values.items():
        for cell, accuracy in zip(declared.entries[place], accuracies, strict=False):
            environment = {"threads": 1 + (place == ("b", "c"))}
            store.finish(cell_key(cell), {"result": {"accuracy": accuracy, "environment": environment}})
    store.fail(cell_key(declared.entries["a", "d"][0]), {"error": "it broke"})

    result = collect(declared, store)

    assert list(result.entries) == [("a", "c"), ("a", "d"), ("b", "c")]
    first, none, second = result.entries.values()
    # Seed by seed, network by network: the last two of the second set are missing.
    assert first.accuracies == {(0, 0): 0.5, (0, 1): 0.6, (0, 2): 0.7, (1, 0): 0.8}
    assert (first.n, first.sets, first.missing) == (4, 2, 2)
    assert first.mean == pytest.approx(0.65)
    assert first.std == pytest.approx((0.05 / 3) ** 0.5)
    assert first.interval == mean_interval(first.accuracies)
    assert first.origins == {c.recipe.seed: cell_key(c.inputs[0]) for c in declared.entries["a", "c"]}
    assert (none.n, none.missing) == (0, 6)
    assert (second.n, second.missing) == (5, 1)
    assert result.whole is not None
    assert (result.whole.n, result.whole.missing) == (0, 1)
    assert result.environments == [{"threads": 1}, {"threads": 2}]
    # Networks that only one of the two has are left out of the comparison.
    (claim,) = result.claims
    assert (claim.claim.text, claim.n, claim.sets) == ("a > b", 4, 2)
    assert claim.difference == pytest.approx((0.1 + 0.2 + 0.2 + 0.2) / 4)
    assert claim.published is None
    printed = {("a", "c"): Published(91.5, 0.5), ("b", "c"): Published(88.0)}
    (claim,) = replace(result, study=replace(declared, published=printed)).claims
    assert claim.published == pytest.approx(0.035)


def test_a_study_without_upper_bound_has_none(tmp_path: Path) -> None:
    assert collect(replace(study(), whole=()), Store(tmp_path)).whole is None


def test_a_single_network_has_no_spread() -> None:
    assert entry({(0, 0): 0.5}).std == 0.0
    assert entry({(0, 0): 0.5}).interval == (-math.inf, math.inf)


@pytest.mark.parametrize("groups", [([0.25] * 4,), ([0.25] * 4, [0.25]), ([0.25], [0.25], [0.25])])
def test_constant_values_have_an_interval_without_width(groups: tuple[list[float], ...]) -> None:
    assert mean_interval(numbers(*groups)) == (0.25, 0.25)


def test_the_interval_is_students_t_over_the_means_of_sets() -> None:
    # Means 1, 2, 3 of three sets: std 1, and t of 2 degrees of freedom is 4.3027 (Student's table).
    half = 4.302653 / math.sqrt(3)
    values = numbers([0.5, 1.5], [2.0, 2.0, 2.0], [3.0])
    assert mean_interval(values) == pytest.approx((2 - half, 2 + half))
    assert mean_interval(dict(reversed(values.items()))) == mean_interval(values)


def test_one_set_tells_of_its_networks_alone() -> None:
    half = 4.302653 / math.sqrt(3)
    assert mean_interval(numbers([1.0, 2.0, 3.0])) == pytest.approx((2 - half, 2 + half))


def test_seeds_that_share_a_set_are_one_set() -> None:
    values = numbers([0.0] * 20, [1.0] * 20)
    shared = EntryResult(accuracies=values, missing=0, origins={0: "herding", 1: "herding"})
    assert (entry(values).sets, shared.sets) == (2, 1)
    assert shared.interval == mean_interval(numbers([0.0] * 20 + [1.0] * 20))
    assert mean_interval(values, {0: "first", 1: "second"}) == entry(values).interval
    low, high = entry(values).interval
    assert (low, high) == pytest.approx((0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2), rel=1e-4)  # t of 1 degree


@pytest.mark.parametrize("sets", [2, 3, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(sets: int) -> None:
    generator = torch.Generator().manual_seed(0)
    trials, networks = 1000, 4
    held = 0
    for _ in range(trials):
        of_set = 2 * torch.randn(sets, 1, generator=generator)
        values = of_set + torch.randn(sets, networks, generator=generator)
        low, high = mean_interval(numbers(*values.tolist()))
        held += low < 0 < high
    assert 0.93 < held / trials < 0.97


def test_a_single_set_decides_nothing_on_either_side() -> None:
    high, low = numbers([0.8, 0.82], [0.8, 0.82]), numbers([0.5, 0.52], [0.5, 0.52])
    claim = Claim(text="?", better=(("high", ""),), worse=(("low", ""),))
    one = {("high", ""): entry(numbers([0.8, 0.82])), ("low", ""): entry(numbers([0.5, 0.52]))}
    shared = {
        (name, ""): EntryResult(accuracies=values, missing=0, origins={0: name, 1: name})
        for name, values in (("high", high), ("low", low))
    }
    for entries in (one, shared):
        result = check_claim(claim, entries)
        assert result is not None
        assert (result.verdict, result.sets) == ("undecided", 1)
    # Where one side has sets of its own, differences do too.
    mixed = check_claim(claim, shared | {("low", ""): entry(low)})
    assert mixed is not None
    assert (mixed.verdict, mixed.sets) == ("reproduced", 2)


GROUPS: Mapping[str, tuple[list[float], ...]] = {
    "high": ([0.8, 0.82], [0.81, 0.83]),
    "low": ([0.5, 0.52], [0.51, 0.55]),
    "mixed": ([0.95, 0.95], [0.6, 0.6]),
}


@pytest.mark.parametrize(
    ("better", "worse", "strict", "verdict"),
    [
        ("high", "low", True, "reproduced"),
        ("high", "low", False, "reproduced"),
        ("low", "high", True, "contradicted"),
        ("low", "high", False, "contradicted"),
        ("high", "mixed", True, "undecided"),
        ("high", "mixed", False, "consistent"),
        ("high", "high", True, "undecided"),
    ],
)
def test_the_interval_of_a_difference_decides(better: str, worse: str, strict: bool, verdict: str) -> None:
    entries = {(name, ""): entry(numbers(*groups)) for name, groups in GROUPS.items()}
    claim = Claim(text="?", better=((better, ""),), worse=((worse, ""),), strict=strict)
    result = check_claim(claim, entries)
    assert result is not None
    assert result.verdict == verdict
    low, high = result.interval
    assert low <= result.difference <= high
    assert (result.n, result.sets) == (4, 2)
    assert result.difference == pytest.approx(entries[better, ""].mean - entries[worse, ""].mean)


def test_networks_are_paired_over_all_entries_of_both_sides() -> None:
    # Noise that both sides share cancels, so a small difference is seen.
    noise = {
        (s, n): float(value) for (s, n), value in zip(product(range(3), range(4)), range(12), strict=True)
    }
    entries = {
        ("a", "x"): entry({pair: value + 0.3 for pair, value in noise.items()}),
        ("a", "y"): entry({pair: value + 0.1 for pair, value in noise.items() if pair != (0, 1)}),
        ("b", "x"): entry({pair: value for pair, value in noise.items() if pair != (2, 3)}),
        ("b", "empty"): entry({}),
    }
    claim = Claim(text="?", better=(("a", "x"), ("a", "y")), worse=(("b", "x"),))
    result = check_claim(claim, entries)
    assert result is not None
    assert (result.n, result.sets, result.verdict) == (10, 3, "reproduced")
    assert (result.difference, *result.interval) == pytest.approx((0.2, 0.2, 0.2))
    # A single pair has no spread to decide by.
    single = {
        place: entry({(0, 0): result.accuracies[0, 0]}) for place, result in entries.items() if result.n
    }
    decided = check_claim(claim, single)
    assert decided is not None
    assert (decided.n, decided.verdict) == (1, "undecided")
    for missing in ("empty", "undeclared"):
        assert check_claim(replace(claim, worse=(("b", missing),)), entries) is None
