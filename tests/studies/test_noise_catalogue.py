"""What the studies of noise-aware matching declare, without reading a data set."""

from dataclasses import replace
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data import data_source as sources
from datacondense.errors import InputError
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.running import declared
from datacondense.studies.study import Study
from datacondense.studies.tasks import Condense, Evaluate
from datacondense.tasks.task import inputs_of
from tests.tasks.made_tasks import MNIST

NOISE_STUDIES = ("teacher", "representatives", "masks", "noise-aware")
SMALL = StudyConfig(seeds=2, repeats=3, iterations=4, networks=("convnet", "lenet"))


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a declaration read the data set")

    monkeypatch.setattr(sources, "_read", refuse)


def of(name: str, **changes: Any) -> Study:
    unused = {"networks": ()} if name in {"masks", "noise-aware"} else {}
    return declared(find_study(name), MNIST, replace(SMALL, **{**unused, **changes}))


def methods(study: Study, row: str, column: str) -> list[GradientMatchingConfig]:
    """Return the settings of an entry's sets."""
    sets = [task.source for task in study.entries[row, column] if isinstance(task, Evaluate)]
    found = [task.method for task in sets if isinstance(task, Condense)]
    return [method for method in found if isinstance(method, GradientMatchingConfig)]


def budgets(study: Study, row: str, column: str) -> list[Condense | None]:
    """Return for each network the set that gives its set the time budget."""
    sets = [source for task in study.entries[row, column] for source in inputs_of(task)]
    return [source.time_budget_from for source in sets if isinstance(source, Condense)]


def keys(study: Study, row: str, column: str) -> list[str]:
    return [task.key for task in study.entries[row, column]]


@pytest.mark.parametrize("name", NOISE_STUDIES)
def test_every_entry_is_paired_with_plain_matching_network_by_network(name: str) -> None:
    study = of(name)
    assert study.name == name
    assert study.entries.keys() == {(row, column) for row in study.rows for column in study.columns}
    for entry, plain in study.paired.items():
        for method in methods(study, *plain):
            assert (method.transform, method.class_collective, method.iterate_averaging) == ((), False, False)
        assert methods(study, *entry)
        for method in methods(study, *entry):
            assert (method.transform, method.class_collective, method.iterate_averaging) != ((), False, False)
        variants = [
            [(c.protocol.seed, c.repeat, c.protocol.network) for c in study.entries[compared]]
            for compared in (entry, plain)
        ]
        assert variants[0] == variants[1]
    for tasks in study.entries.values():
        assert [(c.protocol.seed, c.repeat) for c in tasks] == [(s, n) for s in range(2) for n in range(3)]


def test_the_teacher_is_scored_on_convnet_and_on_itself() -> None:
    study = of("teacher", networks=())
    assert study.rows == ("MLP", "ConvNet", "LeNet", "AlexNet", "VGG", "ResNet")
    assert not study.paired
    for row, own in (("LeNet", "lenet"), ("ResNet", "resnet18"), ("ConvNet", "convnet")):
        assert {task.protocol.network for task in study.entries[row, "ConvNet"]} == {"convnet"}
        assert {task.protocol.network for task in study.entries[row, "itself"]} == {own}
    assert {method.network for method in methods(study, "ResNet", "itself")} == {"resnet18-bn-ap"}
    assert keys(study, "ConvNet", "ConvNet") == keys(study, "ConvNet", "itself")


def test_representatives_are_all_poolings_on_networks_with_kernels() -> None:
    study = of("representatives", networks=())
    assert "MLP" not in study.columns
    assert len(study.columns) == 5
    found = {row: {method.transform for method in methods(study, row, "LeNet")} for row in study.rows}
    assert found == {
        "plain": {()},
        "mean 1×1": {("mean-pool-1",)},
        "max 1×1": {("max-pool-1",)},
        "abs-max 1×1": {("abs-max-pool-1",)},
        "mean 2×2": {("mean-pool-2",)},
        "max 2×2": {("max-pool-2",)},
        "abs-max 2×2": {("abs-max-pool-2",)},
    }
    assert of("representatives", networks=("mlp", "lenet")).columns == ("MLP", "LeNet")  # as listed
    assert set(study.paired) == {(row, net) for row in study.rows[1:] for net in study.columns}


def test_masks_start_from_the_full_gradient() -> None:
    study = of("masks")
    assert study.columns == ("100", "50", "25", "10", "5", "1", "0.25")
    assert [float(column) for column in study.columns] == sorted(map(float, study.columns), reverse=True)
    assert {m.transform for m in methods(study, "largest", "0.25")} == {("keep-magnitude:0.0025",)}
    assert {m.transform for m in methods(study, "most stable", "10")} == {("keep-stable:0.1",)}
    assert keys(study, "largest", "100") == keys(study, "most stable", "100")
    assert of("masks", kept=(1, 33.3)).columns == ("100", "33.3", "1")
    assert study.plot == "curves"


def test_noise_aware_variants_are_compared_at_equal_iterations_and_at_equal_seconds() -> None:
    study = of("noise-aware")
    assert study.columns == ("equal iterations", "equal seconds")
    assert keys(study, "plain", "equal iterations") == keys(study, "plain", "equal seconds")
    found = {row: methods(study, row, "equal iterations")[0] for row in study.rows}
    assert {row: (method.class_collective, method.iterate_averaging) for row, method in found.items()} == {
        "plain": (False, False),
        "iterate averaging": (False, True),
        "class-collective": (True, False),
        "class-collective, iterate averaging": (True, True),
    }
    plain = [inputs_of(task)[0] for task in study.entries["plain", "equal iterations"]]
    for row in study.rows[1:]:
        assert not any(budgets(study, row, "equal iterations"))
        assert budgets(study, row, "equal seconds") == plain


def test_plain_matching_is_the_same_task_in_all_noise_studies() -> None:
    plain = keys(of("representatives"), "plain", "ConvNet")
    assert plain == keys(of("teacher"), "ConvNet", "ConvNet") == keys(of("masks"), "largest", "100")


@pytest.mark.parametrize(
    ("name", "unused"), [("teacher", "kept"), ("representatives", "kept"), ("norm", "kept")]
)
def test_unused_settings_are_refused(name: str, unused: str) -> None:
    networks = () if name == "norm" else SMALL.networks
    with pytest.raises(InputError, match=f"{unused} is 10, but this study does not use it"):
        of(name, networks=networks, **{unused: (10,)})
