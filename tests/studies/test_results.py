"""From records to one frame, and from the frame to entries, paired differences by hand, and verdicts on orderings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory, grid
from datacondense.studies.results import COLUMNS, StudyResult, collect
from datacondense.studies.statistics import mean_interval
from datacondense.studies.study import Claim, Published, Study
from datacondense.tasks.store import Store
from datacondense.tasks.task import graph_of, inputs_of
from tests.tasks.made_tasks import MNIST, finish

Numbers = Mapping[tuple[int, int], float]  # by seed and network


def numbers(*groups: list[float]) -> Numbers:
    """Name each number by its set and its network."""
    return {(s, n): value for s, group in enumerate(groups) for n, value in enumerate(group)}


def result(
    rows: Mapping[str, Numbers], origins: Mapping[int, str] | None = None, **declared: Any
) -> StudyResult:
    """Return a study of rows in one column, whose seeds have sets of their own unless their origins are given."""
    study = Study(
        name="made",
        title="?",
        rows=(*rows,),
        columns=("",),
        row_axis="r",
        column_axis="c",
        entries={},
        **declared,
    )
    lines = [
        {"row": row, "column": "", "seed": seed, "network": network, "accuracy": value}
        | {"set": (origins or {}).get(seed, f"{row} {seed}")}
        for row, found in rows.items()
        for (seed, network), value in found.items()
    ]
    return StudyResult(study=study, frame=pd.DataFrame(lines, columns=COLUMNS), environments=())


def ordering(better: str, worse: str, *, strict: bool = True) -> Claim:
    return Claim(text="?", better=((better, ""),), worse=((worse, ""),), strict=strict)


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


def test_records_become_lines_and_missing_ones_are_counted(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    values = {("a", "c"): (0.5, 0.6, 0.7, 0.8), ("b", "c"): (0.4, 0.4, 0.5, 0.6, 0.1)}
    for labels, accuracies in values.items():
        for task, accuracy in zip(declared.entries[labels], accuracies, strict=False):
            environment = {"threads": 1 + (labels == ("b", "c"))}
            finish(store, task, {"accuracy": accuracy, "environment": environment})
    store.fail(declared.entries["a", "d"][0].key, {"error": "it broke"})

    found = collect(declared, store)

    assert len(found.frame) == 3 * 6 + 1
    assert list(found.table.index) == [("a", "c"), ("a", "d"), ("b", "c")]
    first, none, second = (found.table.loc[entry] for entry in found.table.index)
    # Seed by seed, network by network: the last two of the second set are missing.
    assert (first.n, first.sets, first.missing, first["size"]) == (4, 2, 2, "4 (on 2 sets)")
    assert first["mean"] == pytest.approx(0.65)
    assert first["std"] == pytest.approx((0.05 / 3) ** 0.5)
    assert (first.low, first.high) == mean_interval([[0.5, 0.6, 0.7], [0.8]])
    own = found.frame[(found.frame["row"] == "a") & (found.frame["column"] == "c")]
    assert own["set"].tolist() == [inputs_of(task)[0].key for task in declared.entries["a", "c"]]
    assert (none.n, none.missing, second.n, second.missing) == (0, 6, 5, 1)
    assert math.isnan(none["mean"])
    assert found.full is not None
    assert (found.full.n, found.full.missing) == (0, 1)
    assert found.environments == [{"threads": 1}, {"threads": 2}]
    # Networks that only one of the two has are left out of the comparison.
    (claim,) = found.claims.itertuples()
    assert (claim.text, claim.n, claim.sets) == ("a > b", 4, 2)
    assert claim.difference == pytest.approx((0.1 + 0.2 + 0.2 + 0.2) / 4)
    assert math.isnan(claim.published)
    printed = {("a", "c"): Published(91.5, 0.5), ("b", "c"): Published(88.0)}
    (claim,) = replace(found, study=replace(declared, published=printed)).claims.itertuples()
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
        finish(store, inputs_of(task)[0], made)
        finish(store, task, {"accuracy": 0.5})
    for task in declared.entries["b", "c"]:
        finish(store, inputs_of(task)[0], {"condensing_seconds": 3.0})
    finish(store, declared.entries["b", "c"][0], {"accuracy": 0.5})

    table = collect(declared, store).table

    assert list(table["image_lrs"]) == [(0.1, 0.5), (), ()]
    assert (table["condensing_seconds"]["a", "c"], table["iterations"]["a", "c"]) == (10.5, 4.0)
    # Of the sets that a network was trained on.
    assert table["condensing_seconds"]["b", "c"] == 3.0
    assert table["iterations"].isna().tolist() == [False, True, True]


def test_shared_sets_are_counted_once(tmp_path: Path) -> None:
    store, declared = Store(tmp_path), study()
    (first, *_) = tasks = declared.entries["a", "c"]
    made: Any = tasks
    shared = [replace(task, source=inputs_of(first)[0]) for task in made]
    for task in shared:
        finish(store, task, {"accuracy": 0.5})
    finish(store, inputs_of(first)[0], {"image_lr": 0.1, "condensing_seconds": 7.0})
    found = collect(replace(declared, entries={("a", "c"): shared}, claims=()), store).table.loc["a", "c"]
    assert (found.sets, found.image_lrs, found.condensing_seconds) == (1, (0.1,), 7.0)


def test_a_study_without_upper_bound_has_none(tmp_path: Path) -> None:
    assert collect(replace(study(), full=()), Store(tmp_path)).full is None


def test_a_single_network_has_no_spread() -> None:
    (found,) = result({"a": {(0, 0): 0.5}}).table.itertuples()
    assert found.mean == 0.5
    assert all(map(math.isnan, (found.std, found.low, found.high)))


def test_seeds_that_share_a_set_are_one_set() -> None:
    values = numbers([0.0] * 20, [1.0] * 20)
    (own,), (shared,) = (
        result({"a": values}, origins).table.itertuples() for origins in (None, {0: "herding", 1: "herding"})
    )
    assert (own.sets, shared.sets, own.size, shared.size) == (2, 1, "40 (2 × 20)", "40 (1 × 40)")
    assert (shared.low, shared.high) == mean_interval([[0.0] * 20 + [1.0] * 20])
    assert (own.low, own.high) == pytest.approx(
        (0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2), rel=1e-4
    )  # t of 1 degree


def test_a_single_set_decides_nothing_on_either_side() -> None:
    claims = (ordering("high", "low"),)
    one = {"high": numbers([0.8, 0.82]), "low": numbers([0.5, 0.52])}
    two = {"high": numbers([0.8, 0.82], [0.8, 0.82]), "low": numbers([0.5, 0.52], [0.5, 0.52])}
    for found in (result(one, claims=claims), result(two, {0: "same", 1: "same"}, claims=claims)):
        (claim,) = found.claims.itertuples()
        assert (claim.verdict, claim.sets) == ("undecided", 1)
    # Where one side has sets of its own, differences do too.
    mixed = result(two, claims=claims)
    mixed.frame.loc[mixed.frame["row"] == "high", "set"] = "one"
    (claim,) = mixed.claims.itertuples()
    assert (claim.verdict, claim.sets) == ("reproduced", 2)


GROUPS: Mapping[str, Numbers] = {
    "high": numbers([0.8, 0.82], [0.81, 0.83]),
    "low": numbers([0.5, 0.52], [0.51, 0.55]),
    "mixed": numbers([0.95, 0.95], [0.6, 0.6]),
}


@pytest.mark.parametrize(
    ("better", "worse", "strict", "verdict", "difference"),
    [
        ("high", "low", True, "reproduced", "gain"),
        ("high", "low", False, "reproduced", "gain"),
        ("low", "high", True, "contradicted", "loss"),
        ("low", "high", False, "contradicted", "loss"),
        ("high", "mixed", True, "undecided", "undecided"),
        ("high", "mixed", False, "consistent", "undecided"),
        ("high", "high", True, "undecided", "undecided"),
    ],
)
def test_the_interval_of_a_difference_decides(
    better: str, worse: str, strict: bool, verdict: str, difference: str
) -> None:
    pair = {(better, ""): (worse, "")}
    found = result(GROUPS, claims=(ordering(better, worse, strict=strict),), paired=pair)
    (claim,), (paired,) = found.claims.itertuples(), found.differences.itertuples()
    assert (claim.verdict, paired.verdict) == (verdict, difference)
    assert claim.low <= claim.difference <= claim.high
    assert (claim.n, claim.sets, claim.size) == (paired.n, paired.sets, "4 (2 × 2)") == (4, 2, "4 (2 × 2)")
    means = found.table["mean"]
    assert claim.difference == pytest.approx(means[better, ""] - means[worse, ""])
    assert (paired.difference, paired.low, paired.high) == pytest.approx((
        claim.difference,
        claim.low,
        claim.high,
    ))
    assert paired.low <= paired.bootstrap_low <= paired.difference <= paired.bootstrap_high <= paired.high


def test_networks_are_paired_over_all_entries_of_both_sides() -> None:
    # Noise that both sides share cancels, so a small difference is seen.
    pairs = product(range(3), range(4))
    noise = {pair: float(value) for pair, value in zip(pairs, range(12), strict=True)}
    rows = {
        "a": {pair: value + 0.3 for pair, value in noise.items()},
        "b": {pair: value + 0.1 for pair, value in noise.items() if pair != (0, 1)},
        "c": {pair: value for pair, value in noise.items() if pair != (2, 3)},
        "empty": dict.fromkeys(noise, math.nan),
    }
    claim = Claim(text="?", better=(("a", ""), ("b", "")), worse=(("c", ""),))
    (found,) = result(rows, claims=(claim,)).claims.itertuples()
    assert (found.n, found.sets, found.size, found.verdict) == (10, 3, "10 (on 3 sets)", "reproduced")
    assert (found.difference, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    # A single pair has no spread to decide by.
    single = {row: {(0, 0): values[0, 0]} for row, values in rows.items() if row != "empty"}
    (found,) = result(single, claims=(claim,)).claims.itertuples()
    assert (found.n, found.verdict) == (1, "undecided")
    for missing in ("empty", "undeclared"):
        assert result(rows, claims=(replace(claim, worse=((missing, ""),)),)).claims.empty


def test_intervals_of_differences_by_hand() -> None:
    plain = numbers([0.5, 0.6], [0.7, 0.8], [0.3, 0.4])
    other = numbers([0.51, 0.61], [0.72, 0.82], [0.33, 0.43])
    paired = {("other", ""): ("plain", "")}
    (found,) = result({"plain": plain, "other": other}, paired=paired).differences.itertuples()
    half = 4.302653 * 0.01 / math.sqrt(3)  # differences 0.01, 0.02, 0.03
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half))
    assert (found.bootstrap_low, found.bootstrap_high) == pytest.approx((0.01, 0.03))
    # The bootstrap would call it a gain; Student's t decides.
    assert (found.difference, found.verdict) == (pytest.approx(0.02), "undecided")


def test_every_set_counts_the_same_in_a_difference() -> None:
    rows = {"plain": numbers([0.5] * 3, [0.5] * 3), "other": numbers([0.6], [0.5] * 3)}
    (found,) = result(rows, paired={("other", ""): ("plain", "")}).differences.itertuples()
    assert (found.difference, found.n, found.sets) == (pytest.approx(0.05), 4, 2)


def test_a_single_set_has_a_difference_without_ends() -> None:
    for values, origins in ((numbers([0.5, 0.6]), None), (numbers([0.5, 0.6], [0.7, 0.7]), {0: "h", 1: "h"})):
        rows = dict.fromkeys(("plain", "other"), values)
        (found,) = result(rows, origins, paired={("other", ""): ("plain", "")}).differences.itertuples()
        assert (found.sets, found.n, found.verdict) == (1, len(values), "undecided")
        assert all(map(math.isnan, (found.low, found.high, found.bootstrap_low, found.bootstrap_high)))


def test_differences_need_finished_pairs() -> None:
    rows = {
        "plain": numbers([0.5], [0.6]),
        "apart": {(2, 0): 0.5},
        "none": {(0, 0): math.nan},
        "some": {(1, 0): 0.7, (2, 0): 0.9},
    }
    paired = {(row, ""): ("plain", "") for row in ("some", "apart", "none")}
    found = result(rows, paired=paired).differences
    assert list(found.index) == [("some", "")]
    assert (found.n.item(), found.difference.item()) == (1, pytest.approx(0.1))
    assert result(rows).differences.empty


def costly(tmp_path: Path) -> tuple[Study, Store]:
    """Record a study of a random, a herded and a searched row, all in one column, with the costs of each task."""
    tasks = TaskFactory(
        data=MNIST,
        config=StudyConfig(seeds=2, repeats=2, method=GradientMatchingConfig(network="mlp")),
        held_out=replace(MNIST, validation_fraction=0.1),
    )
    rows = {
        "random": tasks.selected("random", 1),
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
    for task in graph_of(made.tasks).values():
        # What a set took is in its result, and that of the task is more: it reads the data first.
        seed = getattr(task, "seed", 0)
        memory = {"peak": 400 + seed, "added": 10 * seed}
        costs = {"accuracy": 0.5, "condensing_seconds": 5.0 + seed, "memory": memory}
        finish(store, task, costs, seconds.get(type(task).__name__, 77.0))
    return made, store


def test_costs_of_sets_are_collected(tmp_path: Path) -> None:
    made, store = costly(tmp_path)
    found = collect(made, store)
    random, herding, searched = (found.table.loc[row, "1"] for row in made.rows)
    assert (random.condensing_seconds, random.memory_peak, random.memory_added) == (5.5, 400.5, 5.0)
    # The network and its features, once; the learning-rate search is not counted.
    assert [entry.shared_seconds for entry in (random, herding, searched)] == [0.0, 42.0, 0.0]
    assert [entry.evaluating_seconds for entry in (random, herding, searched)] == [3.0] * 3
    assert found.full is not None
    assert found.full.evaluating_seconds == 40.0
    assert math.isnan(found.full.shared_seconds)


def test_records_without_memory_and_unfinished_networks_leave_it_out(tmp_path: Path) -> None:
    made, store = costly(tmp_path)
    first, *_, last = made.entries["random", "1"]
    finish(store, inputs_of(first)[0], {"condensing_seconds": 8.0}, 77.0)
    for key in (last.key, made.full[0].key):
        (store.folder(key) / "record.json").unlink()
    table = collect(made, store).table
    random, herding = (table.loc[row, "1"] for row in ("random", "herding"))
    assert math.isnan(herding.shared_seconds)
    assert herding.n == 4
    assert (random.condensing_seconds, random.memory_peak, random.missing) == (7.0, 401.0, 1)
