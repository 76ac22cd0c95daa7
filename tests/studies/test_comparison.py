"""What the studies that compare methods declare: the right task for every row, one protocol, what was published."""

from dataclasses import replace
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import METHODS
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.data.splits import DataSplits
from datacondense.errors import InputError
from datacondense.selection.by_network import Select
from datacondense.selection.full_tasks import ComputeFeatures, TrainFull
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.named_sets import KNOWN
from datacondense.studies.running import declared
from datacondense.studies.study import Published, Study
from datacondense.studies.tasks import Condense, Evaluate
from datacondense.tasks.task import Task, settings_of
from tests.conftest import make_set
from tests.tasks.made_tasks import MNIST

TABLE_1 = ("random", "herding", "k-center", "forgetting", "gradient-matching")
OWN, FIXED = (
    "dataset-distillation, its own steps",
    "dataset-distillation, its own steps, fixed network",
)
SMALL = StudyConfig(seeds=2, repeats=3, iterations=4)
EVERY = replace(SMALL, rows=KNOWN, ipcs=(2,))
CIFAR = replace(MNIST, name="cifar10")
SPLITS = DataSplits(train=make_set(num_classes=10, per_class=50), test=make_set(num_classes=10, seed=5))


@pytest.fixture(autouse=True)
def _made_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataSource, "read", lambda _: SPLITS)


def of(config: StudyConfig = SMALL, data: DataSource = MNIST, name: str = "comparison") -> Study:
    return declared(find_study(name), data, config)


def scores(study: Study, row: str, column: str) -> list[Evaluate]:
    tasks = study.entries[row, column]
    found = [task for task in tasks if isinstance(task, Evaluate)]
    assert len(found) == len(tasks)
    return found


def sources(study: Study, row: str, column: str) -> list[Task]:
    """Return the sets of an entry, each once, seed by seed."""
    return list({task.source.key: task.source for task in scores(study, row, column)}.values())


def learned(study: Study, row: str, column: str) -> Condense:
    """Return the first set of a row that learns its sets with the learning rate that is declared."""
    first = sources(study, row, column)[0]
    assert isinstance(first, Condense)
    return first


def method(study: Study, row: str, column: str) -> MethodConfig:
    return learned(study, row, column).method


def test_the_defaults_are_the_published_table() -> None:
    study = of(StudyConfig(seeds=1, repeats=1))
    assert (study.name, study.rows, study.columns) == ("comparison", TABLE_1, ("1", "10", "50"))
    assert (study.row_axis, study.column_axis, study.plot) == ("method", "images per class", "curves")
    assert study.entries.keys() == {(row, column) for row in TABLE_1 for column in study.columns}
    assert [learned(study, "gradient-matching", ipc).iterations for ipc in study.columns] == [1000] * 3
    assert not study.claims
    assert not study.paired
    # Curves over one number of images would be points on top of each other.
    assert of(StudyConfig(seeds=1, repeats=1, ipcs=(10,))).plot == "heat map"


def test_rows_and_columns_are_those_that_the_user_lists() -> None:
    study = of(replace(SMALL, rows=("distribution-matching", "random"), ipcs=(20, 1, 20)))
    assert (study.rows, study.columns) == (("distribution-matching", "random"), ("1", "20"))
    for tasks in study.entries.values():
        pairs = [(task.protocol.seed, task.repeat) for task in tasks]
        assert pairs == [(seed, number) for seed in range(2) for number in range(3)]


def test_a_row_of_real_images_has_its_selection_task() -> None:
    study = of(EVERY)
    random = sources(study, "random", "2")
    assert random == [Select(method="random", data=MNIST, ipc=2, seed=seed) for seed in range(2)]
    trained = study.full[0]
    assert isinstance(trained, TrainFull)
    features = ComputeFeatures(data=MNIST, trained=trained)
    # These are deterministic, so all seeds share a set.
    assert sources(study, "herding", "2") == [Select(method="herding", ipc=2, data=MNIST, source=features)]
    assert sources(study, "k-center", "2") == [Select(method="k-center", ipc=2, data=MNIST, source=features)]
    assert sources(study, "forgetting", "2") == [
        Select(method="forgetting", ipc=2, data=MNIST, source=trained)
    ]


@pytest.mark.parametrize("row", METHODS)
def test_a_row_of_condensed_images_has_its_method_at_its_defaults(row: str) -> None:
    first, second = sources(of(EVERY), row, "2")
    assert isinstance(first, Condense)
    assert isinstance(second, Condense)
    assert (first.seed, second.seed, first.iterations, first.data) == (0, 1, 4, MNIST)
    usual = METHODS[row](ipc=2, precision=first.method.precision)
    assert first.method == usual.resolved(may_be_mirrored=False)
    assert second == replace(first, seed=1)


@pytest.mark.parametrize(
    ("row", "iterations"),
    [
        ("gradient-matching", 1000),
        ("idc", 2000),
        ("siamese-matching", 1000),
        ("distribution-matching", 20000),
        ("parameter-matching", 1000),
        ("dataset-distillation", 23600),
    ],
)
def test_each_method_runs_its_published_number_of_iterations(row: str, iterations: int) -> None:
    assert learned(of(replace(EVERY, iterations=None)), row, "2").iterations == iterations


@pytest.mark.parametrize("bfloat16", [True, False])
def test_every_method_can_be_compared_on_every_cpu(bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacondense.studies.factory.has_bfloat16", lambda: bfloat16)
    study = of(EVERY)
    precisions = {task.protocol.precision for task in study.tasks}
    precisions |= {method(study, row, "2").precision for row in METHODS}
    assert precisions == {"bfloat16" if bfloat16 else "float32"}


def test_settings_that_mean_the_same_are_shared_by_all_methods() -> None:
    given = GradientMatchingConfig(
        network="convnet-w16-d2", precision="float64", engine="eager", real_batch=32, image_lr=0.7
    )
    study = of(replace(EVERY, method=given))
    methods = {row: method(study, row, "2") for row in METHODS}
    assert {(each.network, each.precision, each.engine) for each in methods.values()} == {
        ("convnet-w16-d2", "float64", "eager")
    }
    assert {row: each.real_batch for row, each in methods.items()} == {
        "gradient-matching": 32,
        "siamese-matching": 32,
        "idc": 64,
        "distribution-matching": 32,
        "parameter-matching": 16,
        "dataset-distillation": 1024,
    }
    assert {row: each.image_lr for row, each in methods.items()} == {
        "gradient-matching": 0.7,
        "siamese-matching": 0.1,
        "idc": 0.032,
        "distribution-matching": 1.0,
        "parameter-matching": 0.1,
        "dataset-distillation": 0.01,
    }
    assert {task.protocol.network for task in study.tasks} == {"convnet-w16-d2"}


def test_all_methods_and_selections_store_alike() -> None:
    study = of(replace(EVERY, method=GradientMatchingConfig(network="convnet-w16-d2", factor=2)))
    for row in METHODS:
        assert method(study, row, "2").factor == 2
    for row in ("random", "herding", "forgetting"):
        selected = sources(study, row, "2")[0]
        assert isinstance(selected, Select)
        assert selected.factor == 2


@pytest.mark.parametrize("network", ["convnet", "convnet-bn"])
@pytest.mark.parametrize("augmentation", [None, "none", "dsa"])
def test_all_rows_have_one_protocol(network: str, augmentation: str | None) -> None:
    given = replace(EVERY, method=GradientMatchingConfig(network=network), augmentation=augmentation)
    study = of(replace(given, ipcs=(1, 2)))
    by_seed = {
        seed: {
            task.protocol for tasks in study.entries.values() for task in tasks if task.protocol.seed == seed
        }
        for seed in range(2)
    }
    assert [len(protocols) for protocols in by_seed.values()] == [1, 1]
    (first,), (second,) = by_seed.values()
    assert replace(second, seed=first.seed) == first
    # BatchNorm is replaced where a set is scored.
    assert (first.network, first.learned_steps) == ("convnet", False)
    expected = {None: "crop-scale-rotate", "dsa": "dsa:color-crop-cutout-scale-rotate"}
    assert first.augmentation == expected.get(augmentation, augmentation)


def test_full_training_is_the_upper_bound() -> None:
    study = of(replace(SMALL, full_networks=2, full_epochs=5))
    assert [(task.protocol.epochs, task.repeat) for task in study.full] == [(5, 0), (5, 1)]
    assert study.tasks[-2:] == list(study.full)
    assert all(isinstance(task, TrainFull) for task in study.full)


def test_selections_have_a_network_without_the_upper_bound() -> None:
    with_it, without = (of(replace(SMALL, full_networks=number)) for number in (1, 0))
    assert len(with_it.full) == 1
    assert without.full == ()
    assert sources(without, "herding", "10") == sources(with_it, "herding", "10")


def test_a_ratio_is_images_of_all_classes_over_training_images() -> None:
    assert of().ratios == pytest.approx({"1": 2.0, "10": 20.0, "50": 100.0})  # 10 classes, 500 images


def test_a_ratio_counts_classes_with_other_numbers_of_images() -> None:
    given = replace(SMALL, ipcs=(2,), method=GradientMatchingConfig(ipc_of={"class 3": 5}))
    assert of(given).ratios == pytest.approx({"2": 100 * (9 * 2 + 5) / 500})


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(InputError, match="no method 'hoarding': choose from random, herding, k-center"):
        of(replace(SMALL, rows=("random", "hoarding")))


@pytest.mark.parametrize("config", [{"networks": ("mlp",)}, {"kept": (5.0,)}])
@pytest.mark.parametrize("name", ["comparison", "distillation"])
def test_settings_without_effect_are_refused(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="but this study does not use it"):
        of(replace(SMALL, **config), name=name)


@pytest.mark.parametrize(
    ("data", "row", "column", "mean", "std"),
    [
        ("mnist", "random", "1", 64.9, 3.5),
        ("mnist", "gradient-matching", "50", 98.8, 0.2),
        ("fashion-mnist", "k-center", "10", 54.7, 1.5),
        ("svhn", "forgetting", "1", 12.1, 1.7),
        ("svhn", "random", "50", 70.9, 0.9),
        ("cifar10", "random", "1", 14.4, 2.0),
        ("cifar10", "herding", "50", 40.4, 0.6),
        ("cifar10", "gradient-matching", "10", 44.9, 0.5),
    ],
)
def test_published_accuracies_are_in_the_right_entries(
    data: str, row: str, column: str, mean: float, std: float
) -> None:
    study = of(data=replace(MNIST, name=data))
    assert study.published[row, column] == Published(mean, std)
    assert study.published.keys() == study.entries.keys()


def test_later_methods_were_published_under_siamese_augmentation_only() -> None:
    every = replace(EVERY, ipcs=())
    plain = of(every, CIFAR).published
    assert {row for row, _ in plain} == set(TABLE_1)
    siamese = of(replace(every, augmentation="dsa"), CIFAR).published
    assert {row for row, _ in siamese} == {"siamese-matching", "distribution-matching"}
    assert siamese["siamese-matching", "10"] == Published(52.1, 0.5)
    assert siamese["distribution-matching", "50"] == Published(63.0, 0.4)
    # What was not printed is not a zero.
    for data in (MNIST, CIFAR):
        published = of(replace(every, augmentation="dsa"), data).published
        assert all(value.mean > 0 for value in published.values())
    spelled = replace(every, augmentation="dsa:rotate-scale-crop-cutout-color")
    assert of(spelled, MNIST).published == of(replace(every, augmentation="dsa"), MNIST).published


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({"augmentation": "none"}, MNIST),  # MNIST is augmented in the paper
        ({"augmentation": "crop-scale-rotate"}, CIFAR),  # and CIFAR-10 is not
        ({"augmentation": "dsa:color"}, CIFAR),
        ({"method": GradientMatchingConfig(network="convnet-w64")}, MNIST),
        ({"method": GradientMatchingConfig(distance="squared")}, MNIST),
        ({"method": GradientMatchingConfig(siamese="dsa")}, MNIST),
        ({"method": GradientMatchingConfig(class_collective=True)}, MNIST),
        ({}, replace(MNIST, validation_fraction=0.1)),
        ({}, replace(MNIST, config=DataConfig(resize=16))),
        ({}, replace(MNIST, name="usps")),
    ],
)
def test_other_protocols_have_no_published_numbers(config: dict[str, Any], data: DataSource) -> None:
    assert of(replace(SMALL, **config), data).published == {}
    if "method" not in config:
        assert of(replace(SMALL, **config), data, "distillation").published == {}


def test_published_numbers_are_those_of_the_columns_that_are_shown() -> None:
    study = of(replace(SMALL, ipcs=(10, 20), rows=("random", "parameter-matching")))
    assert study.published == {("random", "10"): Published(95.1, 0.9)}


@pytest.mark.parametrize(
    ("data", "network", "expected"),
    [
        ("mnist", "convnet", "lenet"),
        ("cifar10", "convnet", "alexcifarnet"),
        ("usps", "convnet", "convnet"),
        ("mnist", "mlp", "mlp"),
    ],
)
def test_distillation_uses_the_networks_of_its_paper(data: str, network: str, expected: str) -> None:
    given = replace(SMALL, method=GradientMatchingConfig(network=network))
    study = of(given, replace(MNIST, name=data), "distillation")
    assert (study.name, study.columns) == ("distillation", ("1", "10"))
    assert study.rows == (OWN, FIXED, "dataset-distillation", "gradient-matching")
    assert {method(study, row, "1").network for row in study.rows} == {expected}
    assert {task.protocol.network for task in study.tasks} == {expected}
    assert bool(study.published) == (expected == {"mnist": "lenet", "cifar10": "alexcifarnet"}.get(data))
    assert not study.full


def test_only_rows_with_learned_steps_are_trained_by_them() -> None:
    study = of(name="distillation")
    by_own_steps = {
        row: {task.protocol.learned_steps for task in scores(study, row, "10")} for row in study.rows
    }
    assert list(by_own_steps.values()) == [{True}, {True}, {False}, {False}]
    learners = [method(study, row, "10").name for row in study.rows]
    assert learners == [*["dataset-distillation"] * 3, "gradient-matching"]
    names = {row: settings_of(learned(study, row, "10"))["method"] for row in study.rows}
    assert {row: settings.get("fixed_network", False) for row, settings in names.items()} == {
        row: row == FIXED for row in study.rows
    }
    # One set, scored in two ways.
    assert sources(study, OWN, "10") == sources(study, "dataset-distillation", "10")
    protocols = {replace(task.protocol, learned_steps=False, seed=0) for task in study.tasks}
    assert len(protocols) == 1


def test_published_table_of_distillation() -> None:
    mnist, cifar = (of(data=data, name="distillation").published for data in (MNIST, CIFAR))
    assert mnist == {
        (OWN, "10"): Published(79.5, 8.1),
        ("gradient-matching", "1"): Published(85.0, 1.6),
        ("gradient-matching", "10"): Published(93.9, 0.6),
    }
    assert cifar == {
        (OWN, "10"): Published(36.8, 1.2),
        ("gradient-matching", "1"): Published(24.2, 0.9),
        ("gradient-matching", "10"): Published(39.1, 1.2),
    }
    assert of(replace(SMALL, ipcs=(1,)), name="distillation").published.keys() == {("gradient-matching", "1")}
