"""From records to accuracies, paired differences by hand, and verdicts on orderings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.studies.config import StudyConfig
from datacondense.studies.differences import EntryResult, check_claim
from datacondense.studies.factory import TaskFactory, grid
from datacondense.studies.intervals import Accuracies, mean_interval
from datacondense.studies.results import StudyResult, collect
from datacondense.studies.store import RECORD, Store
from datacondense.studies.study import Claim, Published, Study
from datacondense.studies.task import by_depth, task_key
from tests.studies.made_tasks import MNIST


def entry(accuracies: Accuracies) -> EntryResult:
    return EntryResult(accuracies=accuracies, missing=0)


def numbers(*groups: list[float]) -> dict[tuple[int, int], float]:
    """Name each number by its set and its network."""
    return {(s, n): value for s, group in enumerate(groups) for n, value in enumerate(group)}


def study() -> Study:
    """Two rows, of which one has two columns, of two sets and three networks each."""
    tasks = TaskFactory(
        data=MNIST, config=StudyConfig(seeds=2, repeats=3, method=GradientMatchingConfig(network="mlp"))
    )
    entries = grid(
        tasks,
        rows={"a": tasks.condensed(), "b": tasks.condensed(distance="squared")},
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
        full=tasks.full(),
    )


def test_records_become_entries_and_missing_ones_are_counted(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    values = {("a", "c"): (0.5, 0.6, 0.7, 0.8), ("b", "c"): (0.4, 0.4, 0.5, 0.6, 0.1)}
    for labels, accuracies in values.items():
        for task, accuracy in zip(declared.entries[labels], accuracies, strict=False):
            environment = {"threads": 1 + (labels == ("b", "c"))}
            store.finish(task_key(task), {"result": {"accuracy": accuracy, "environment": environment}})
    store.fail(task_key(declared.entries["a", "d"][0]), {"error": "it broke"})

    result = collect(declared, store)

    assert list(result.entries) == [("a", "c"), ("a", "d"), ("b", "c")]
    first, none, second = result.entries.values()
    # Seed by seed, network by network: the last two of the second set are missing.
    assert first.accuracies == {(0, 0): 0.5, (0, 1): 0.6, (0, 2): 0.7, (1, 0): 0.8}
    assert (first.n, first.sets, first.missing) == (4, 2, 2)
    assert first.mean == pytest.approx(0.65)
    assert first.std == pytest.approx((0.05 / 3) ** 0.5)
    assert first.interval == mean_interval(first.accuracies)
    assert first.origins == {c.protocol.seed: task_key(c.inputs[0]) for c in declared.entries["a", "c"]}
    assert (none.n, none.missing) == (0, 6)
    assert (second.n, second.missing) == (5, 1)
    assert result.full is not None
    assert (result.full.n, result.full.missing) == (0, 1)
    assert result.environments == [{"threads": 1}, {"threads": 2}]
    # Networks that only one of the two has are left out of the comparison.
    (claim,) = result.claims
    assert (claim.claim.text, claim.n, claim.sets) == ("a > b", 4, 2)
    assert claim.difference == pytest.approx((0.1 + 0.2 + 0.2 + 0.2) / 4)
    assert claim.published is None
    printed = {("a", "c"): Published(91.5, 0.5), ("b", "c"): Published(88.0)}
    (claim,) = replace(result, study=replace(declared, published=printed)).claims
    assert claim.published == pytest.approx(0.035)


def test_entries_have_learning_rates_and_seconds_of_their_sets(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    # The second set stands first.
    turned = declared.entries["a", "c"][::-1]
    declared = replace(declared, entries={**declared.entries, ("a", "c"): turned})
    rates = {0: 0.5, 1: 0.1}
    for task in turned:
        seed = task.protocol.seed
        made = {"image_lr": rates[seed], "condensing_seconds": 10.0 + seed, "iterations": 4.5 - seed}
        store.finish(task_key(task.inputs[0]), {"result": made})
        store.finish(task_key(task), {"result": {"accuracy": 0.5}})
    for task in declared.entries["b", "c"]:
        store.finish(task_key(task.inputs[0]), {"result": {"condensing_seconds": 3.0}})
    store.finish(task_key(declared.entries["b", "c"][0]), {"result": {"accuracy": 0.5}})

    entries = collect(declared, store).entries

    assert entries["a", "c"].image_lrs == (0.1, 0.5)
    assert entries["a", "c"].condensing_seconds == (10.0, 11.0)
    assert (entries["a", "c"].iterations, entries["b", "c"].iterations) == ((4.5, 3.5), ())
    # Of the sets that a network was trained on.
    assert (entries["b", "c"].image_lrs, entries["b", "c"].condensing_seconds) == ((), (3.0,))
    assert (entries["a", "d"].image_lrs, entries["a", "d"].condensing_seconds) == ((), ())


def test_shared_sets_are_counted_once(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    tasks = declared.entries["a", "c"]
    shared = [replace(task, source=tasks[0].inputs[0]) for task in tasks]  # type: ignore[type-var]
    for task in shared:
        store.finish(task_key(task), {"result": {"accuracy": 0.5}})
    store.finish(task_key(tasks[0].inputs[0]), {"result": {"image_lr": 0.1, "condensing_seconds": 7.0}})
    result = collect(replace(declared, entries={("a", "c"): shared}, claims=()), store).entries["a", "c"]
    assert (result.sets, result.image_lrs, result.condensing_seconds) == (1, (0.1,), (7.0,))


def test_a_study_without_upper_bound_has_none(tmp_path: Path) -> None:
    assert collect(replace(study(), full=()), Store(tmp_path)).full is None


def test_a_single_network_has_no_spread() -> None:
    assert entry({(0, 0): 0.5}).std == 0.0
    assert entry({(0, 0): 0.5}).interval == (-math.inf, math.inf)


def test_seeds_that_share_a_set_are_one_set() -> None:
    values = numbers([0.0] * 20, [1.0] * 20)
    shared = EntryResult(accuracies=values, missing=0, origins={0: "herding", 1: "herding"})
    assert (entry(values).sets, shared.sets) == (2, 1)
    assert shared.interval == mean_interval(numbers([0.0] * 20 + [1.0] * 20))
    assert mean_interval(values, {0: "first", 1: "second"}) == entry(values).interval
    low, high = entry(values).interval
    assert (low, high) == pytest.approx((0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2), rel=1e-4)  # t of 1 degree


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
        labels: entry({(0, 0): result.accuracies[0, 0]}) for labels, result in entries.items() if result.n
    }
    decided = check_claim(claim, single)
    assert decided is not None
    assert (decided.n, decided.verdict) == (1, "undecided")
    for missing in ("empty", "undeclared"):
        assert check_claim(replace(claim, worse=(("b", missing),)), entries) is None


def paired(entries: Mapping[str, EntryResult], pairs: Mapping[str, str]) -> StudyResult:
    """Return a study of rows in one column, with some entries paired."""
    rows = tuple(entries)
    made = Study(
        name="made",
        title="?",
        rows=rows,
        columns=("",),
        row_axis="r",
        column_axis="c",
        entries={},
        paired={(row, ""): (partner, "") for row, partner in pairs.items()},
    )
    found = {(row, ""): result for row, result in entries.items()}
    return StudyResult(study=made, entries=found, full=None, environments=())


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [("high", "low", "gain"), ("low", "high", "loss"), ("high", "mixed", "undecided")],
)
def test_paired_entries_have_a_difference(better: str, worse: str, verdict: str) -> None:
    entries = {name: entry(numbers(*groups)) for name, groups in GROUPS.items()}
    (found,) = paired(entries, {better: worse}).differences.values()
    claim = check_claim(
        Claim(text="?", better=((better, ""),), worse=((worse, ""),)), paired(entries, {}).entries
    )
    assert claim is not None
    assert found.mean == pytest.approx(claim.difference)
    assert (found.interval, found.n, found.sets) == (claim.interval, 4, 2)
    assert found.verdict == verdict
    low, high = found.bootstrap
    assert found.interval[0] <= low <= found.mean <= high <= found.interval[1]


def test_intervals_of_differences_by_hand() -> None:
    plain = entry(numbers([0.5, 0.6], [0.7, 0.8], [0.3, 0.4]))
    other = entry(numbers([0.51, 0.61], [0.72, 0.82], [0.33, 0.43]))
    (found,) = paired({"plain": plain, "other": other}, {"other": "plain"}).differences.values()
    half = 4.302653 * 0.01 / math.sqrt(3)  # differences 0.01, 0.02, 0.03
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half))
    assert found.bootstrap == pytest.approx((0.01, 0.03))
    # The bootstrap would call it a gain; Student's t decides.
    assert found.mean == pytest.approx(0.02)
    assert found.verdict == "undecided"


def test_every_set_counts_the_same_in_a_difference() -> None:
    plain = entry(numbers([0.5] * 3, [0.5] * 3))
    other = entry(numbers([0.6], [0.5] * 3))
    (found,) = paired({"plain": plain, "other": other}, {"other": "plain"}).differences.values()
    assert found.mean == pytest.approx(0.05)
    assert (found.n, found.sets) == (4, 2)


def test_a_single_set_has_a_difference_without_ends() -> None:
    shared = {0: "herding", 1: "herding"}
    one, two = numbers([0.5, 0.6]), numbers([0.5, 0.6], [0.7, 0.7])
    for values, origins in ((one, {}), (two, shared)):
        entries = {
            name: EntryResult(accuracies=values, missing=0, origins=origins) for name in ("plain", "other")
        }
        (found,) = paired(entries, {"other": "plain"}).differences.values()
        assert (found.sets, found.n, found.verdict) == (1, len(values), "undecided")
        assert found.interval == found.bootstrap == (-math.inf, math.inf)


def test_differences_need_finished_pairs() -> None:
    entries = {
        "plain": entry(numbers([0.5], [0.6])),
        "apart": entry({(2, 0): 0.5}),
        "none": entry({}),
        "some": entry({(1, 0): 0.7, (2, 0): 0.9}),
    }
    found = paired(entries, dict.fromkeys(("some", "apart", "none", "undeclared"), "plain")).differences
    assert list(found) == [("some", "")]
    assert found["some", ""].n == 1
    assert found["some", ""].mean == pytest.approx(0.1)
    assert not paired(entries, {"some": "undeclared"}).differences
    assert not paired(entries, {}).differences


def test_known_entries_have_numbers() -> None:
    entries = {"b": entry(numbers([0.5])), "none": entry({}), "a": entry(numbers([0.6]))}
    assert list(paired(entries, {}).known) == [("b", ""), ("a", "")]


def costly(tmp_path: Path) -> tuple[Study, Store]:
    """Record a study of a random, a herded and a searched row, all in one column, with the costs of each task."""
    tasks = TaskFactory(
        data=MNIST,
        config=StudyConfig(seeds=2, repeats=2, method=GradientMatchingConfig(network="mlp")),
        held_out=replace(MNIST, validation_fraction=0.1),
    )
    rows = {
        "random": tasks.random(1),
        "herding": tasks.selected("herding", 1),
        "searched": tasks.condensed(image_lrs=(0.1, 0.5)),
    }
    made = Study(
        name="made",
        title="?",
        rows=tuple(rows),
        columns=("1",),
        row_axis="r",
        column_axis="c",
        entries=grid(tasks, rows=rows, columns={"1": {"network": "mlp"}}),
        full=tasks.full(),
        ratios={"1": 0.5},
    )
    store = Store(tmp_path)
    seconds = {"TrainFull": 40.0, "ComputeFeatures": 2.0, "SearchLearningRate": 1000.0, "Evaluate": 3.0}
    for group in by_depth(made.tasks):
        for number, (key, task) in enumerate(group.items()):
            memory = {"peak": 400 + number, "added": 10 * number}
            # What a set took is in its result, and that of the task is more: it reads the data first.
            result = {"accuracy": 0.5, "condensing_seconds": 5.0 + number, "memory": memory}
            store.finish(key, {"result": result, "seconds": seconds.get(type(task).__name__, 77.0)})
    return made, store


def test_costs_are_collected_for_studies_with_ratios(tmp_path: Path) -> None:
    made, store = costly(tmp_path)

    found = collect(made, store)

    random, herding, searched = (found.entries[row, "1"] for row in made.rows)
    assert random.condensing_seconds == (5.0, 6.0)  # one for each of two sets
    assert random.memory == ((400.0, 0.0), (401.0, 10.0))
    assert random.shared_seconds == (0.0, 0.0)
    # The network and its features, once; the set is one for both seeds.
    assert herding.shared_seconds == (42.0,)
    assert len(herding.memory) == len(herding.condensing_seconds) == 1
    # The learning-rate search is not counted.
    assert searched.shared_seconds == (0.0, 0.0)
    assert [entry.evaluating_seconds for entry in (random, herding, searched)] == [(3.0,) * 4] * 3
    assert found.full is not None
    assert (found.full.evaluating_seconds, found.full.shared_seconds) == ((40.0,), ())


def test_studies_without_ratios_have_no_shared_or_evaluating_seconds(tmp_path: Path) -> None:
    made, store = costly(tmp_path)
    found = collect(replace(made, ratios={}), store)
    for entry in found.entries.values():
        assert (entry.shared_seconds, entry.evaluating_seconds) == ((), ())
        assert entry.condensing_seconds
        assert entry.memory


def test_records_without_memory_and_unfinished_networks_leave_it_out(tmp_path: Path) -> None:
    made, store = costly(tmp_path)
    first, *_, last = made.entries["random", "1"]
    store.finish(task_key(first.inputs[0]), {"result": {"condensing_seconds": 8.0}, "seconds": 77.0})
    (store.folder(task_key(last)) / RECORD).unlink()
    (store.folder(task_key(made.full[0])) / RECORD).unlink()
    entries = collect(made, store).entries
    random, herding = entries["random", "1"], entries["herding", "1"]
    assert not herding.shared_seconds
    assert herding.n == 4
    assert random.condensing_seconds == (8.0, 6.0)
    assert random.memory == ((401.0, 10.0),)
    assert random.evaluating_seconds == (3.0,) * 3
    assert random.missing == 1
