"""From accuracies to tables: means and intervals by hand and by simulation, and what is said of orderings."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from datacondense.condensation import GradientMatchingConfig
from datacondense.studies import CellFactory, Claim, Published, Study, StudyConfig, results
from datacondense.studies.cell import cell_key
from datacondense.studies.results import Accuracies, EntryResult, bootstrap_interval, check_claim, collect
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
        claims=(
            Claim(text="a > b", better=(("a", "c"),), worse=(("b", "c"),)),
            Claim(text="b > nothing", better=(("b", "c"),), worse=(("b", "d"),)),
        ),
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
    assert first.interval == bootstrap_interval(first.accuracies)
    assert first.origins == {c.recipe.seed: cell_key(c.inputs[0]) for c in declared.entries["a", "c"]}
    assert (none.n, none.missing) == (0, 6)
    assert (second.n, second.missing) == (5, 1)
    assert result.whole is not None
    assert (result.whole.n, result.whole.missing) == (0, 1)
    assert result.environments == [{"threads": 1}, {"threads": 2}]
    # Networks that only one of the two has are left out of the comparison; so is an ordering of nothing.
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
    assert entry({(0, 0): 0.5}).interval == (0.5, 0.5)


@pytest.mark.parametrize("groups", [([0.25] * 4,), ([0.25] * 4, [0.25]), ([0.25], [0.25], [0.25])])
def test_constant_values_have_an_interval_without_width(groups: tuple[list[float], ...]) -> None:
    assert bootstrap_interval(numbers(*groups)) == (0.25, 0.25)


def test_an_interval_is_that_of_the_values_in_any_order() -> None:
    drawn = torch.rand(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = numbers(*drawn.tolist())
    low, high = bootstrap_interval(values)
    assert low < drawn.mean() < high
    assert bootstrap_interval(dict(reversed(values.items()))) == (low, high)
    shifted = bootstrap_interval({key: value + 1 for key, value in values.items()})
    assert shifted == pytest.approx((low + 1, high + 1))


def test_one_set_tells_of_its_networks_alone() -> None:
    values = [0.0, 1.0] * 8
    low, high = bootstrap_interval(numbers(values))
    # The mean of 16 fair coins: 4 heads or fewer have a chance of 3.8 %, 3 or fewer of 1.1 %.
    assert (low, high) == (0.25, 0.75)


def test_sets_are_drawn_before_networks() -> None:
    # The spread is between the sets alone: both, either or neither of the two halves is drawn.
    assert bootstrap_interval(numbers([0.0] * 20, [1.0] * 20)) == (0.0, 1.0)
    # The same numbers as one set: the mean of 40 coins.
    low, high = bootstrap_interval(numbers([0.0, 1.0] * 20))
    assert (low, high) == pytest.approx((0.35, 0.65), abs=0.03)


def test_seeds_that_share_a_set_are_one_set() -> None:
    values = numbers([0.0] * 20, [1.0] * 20)
    shared = EntryResult(accuracies=values, missing=0, origins={0: "herding", 1: "herding"})
    assert (entry(values).sets, shared.sets) == (2, 1)
    assert shared.interval == bootstrap_interval(numbers([0.0] * 20 + [1.0] * 20))
    assert bootstrap_interval(values, {0: "first", 1: "second"}) == entry(values).interval == (0.0, 1.0)


def test_a_set_counts_by_its_networks() -> None:
    # A set of nine zeros and four of a single one: each drawn set brings all of its networks.
    low, high = bootstrap_interval(numbers([0.0] * 9, [1.0], [1.0], [1.0], [1.0]))
    assert low == pytest.approx(
        2 / 29
    )  # the zeros three times, which has a chance of 5.1 %; four times: 0.6 %
    assert high == 1.0  # not once, as in a third of all draws


def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_RESAMPLES", 1000)
    generator = torch.Generator().manual_seed(0)
    trials, sets, networks = 120, 10, 4
    held = 0
    for _ in range(trials):
        of_set = 2 * torch.randn(sets, 1, generator=generator)
        values = of_set + torch.randn(sets, networks, generator=generator)
        low, high = bootstrap_interval(numbers(*values.tolist()))
        held += low < 0 < high
    # Percentile intervals of ten sets are a little too narrow; those that ignore the sets hold about 70 %.
    assert 0.84 < held / trials < 0.99


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
