"""What the built-in studies declare, without reading a data set: variants, shared tasks, pairs, published numbers."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data import data_source as sources
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.selection.by_network import Select
from datacondense.studies import published
from datacondense.studies.catalogue import STUDIES, find_study
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.config import StudyConfig
from datacondense.studies.running import declared
from datacondense.studies.study import Published, Study
from datacondense.studies.tasks import Condense
from datacondense.tasks.task import graph_of, inputs_of
from tests.tasks.made_tasks import MNIST

SMALL = StudyConfig(seeds=2, repeats=3, iterations=4)
NOISE_STUDIES = ("teacher", "representatives", "masks", "noise-aware")
ALL = tuple(name for name in STUDIES if name not in {*NOISE_STUDIES, *COMPARISONS})
PRINTED = {"cross-architecture", "ipc"}


READ = sources._read


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a declaration read the data set")

    monkeypatch.setattr(sources, "_read", refuse)


def of(name: str, config: StudyConfig = SMALL, data: DataSource = MNIST) -> Study:
    return declared(find_study(name), data, config)


def sets_of(study: Study, row: str, column: str) -> list[Condense]:
    """Return the sets of an entry, seed by seed."""
    sets = {source.key: source for task in study.entries[row, column] for source in inputs_of(task)}
    assert all(isinstance(source, Condense) for source in sets.values())
    return [source for source in sets.values() if isinstance(source, Condense)]


def keys(study: Study, row: str, column: str) -> list[str]:
    return [task.key for task in study.entries[row, column]]


@pytest.mark.parametrize("name", ALL)
def test_every_study_is_complete(name: str) -> None:
    study = of(name)
    assert study.name == name
    assert study.entries.keys() == {(row, column) for row in study.rows for column in study.columns}
    # What was not checked against print is not there.
    assert bool(study.published) == (name in PRINTED)
    assert study.published.keys() <= study.entries.keys()
    assert study.source.startswith("Zhao, Mopuri, Bilen, ICLR 2021") == (name in PRINTED)
    assert study.heading.startswith("Accuracy by ")
    assert ": MNIST" in study.heading
    for claim in study.claims:
        assert claim.better
        assert claim.worse
        assert {*claim.better, *claim.worse} <= study.entries.keys()
        assert not {*claim.better} & {*claim.worse}
    assert len({claim.text for claim in study.claims}) == len(study.claims)
    for tasks in study.entries.values():
        assert [(c.protocol.seed, c.repeat) for c in tasks] == [(s, n) for s in range(2) for n in range(3)]
        for task in tasks:
            (source,) = inputs_of(task)
            # Herding is deterministic: all seeds share its set.
            assert getattr(source, "method", None) == "herding" or source.seed == task.protocol.seed  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ALL)
def test_published_numbers_of_mnist_are_printed_for_mnist_only(name: str) -> None:
    other = replace(MNIST, name="usps")
    assert of(name, data=other).published == {}
    ten = replace(SMALL, method=GradientMatchingConfig(ipc=10))
    assert (of(name, ten).published == {}) == (name != "ipc")
    narrow = of(name, replace(SMALL, method=GradientMatchingConfig(network="convnet-w64")))
    assert (narrow.published == {}) == (name != "cross-architecture")


def test_the_published_setting_is_one_set_of_tasks_in_all_studies() -> None:
    plain = {
        "cross-architecture": ("ConvNet", "ConvNet"),
        "activation": ("ReLU", "ReLU"),
        "pooling": ("average", "average"),
        "norm": ("instance", "instance"),
        "depth": ("3", "3"),
        "width": ("128", "128"),
        "distance": ("layerwise-cosine", "ConvNet"),
        "ipc": ("gradient matching", "1"),
        "teacher": ("ConvNet", "ConvNet"),
        "representatives": ("plain", "ConvNet"),
        "masks": ("largest", "100"),
        "noise-aware": ("plain", "equal seconds"),
    }
    assert plain.keys() == STUDIES.keys() - COMPARISONS.keys()
    assert len({tuple(keys(of(name), *labels)) for name, labels in plain.items()}) == 1
    method = sets_of(of("depth"), "3", "3")[0].method
    assert replace(method, precision="auto") == GradientMatchingConfig().resolved()
    everything = [task for name in ALL for task in of(name).tasks]
    sets = [task for task in graph_of(everything).values() if isinstance(task, Condense)]
    # Networks; other activations, poolings, norms, depths and widths; other distances on each network; other numbers.
    assert len(sets) == 2 * (6 + 2 + 2 + 4 + 3 + 3 + 2 * 6 + 5)


def test_cross_architecture_condenses_with_the_better_teacher() -> None:
    study = of("cross-architecture")
    variants = {
        row: (sets_of(study, row, row)[0].method, study.entries[row, row][0].protocol) for row in study.rows
    }
    assert {row: (method.network, protocol.network) for row, (method, protocol) in variants.items()} == {
        "MLP": ("mlp", "mlp"),
        "ConvNet": ("convnet", "convnet"),
        "LeNet": ("lenet", "lenet"),
        "AlexNet": ("alexnet", "alexnet"),
        "VGG": ("vgg11-bn", "vgg11"),
        "ResNet": ("resnet18-bn-ap", "resnet18"),
    }
    assert {row: method.image_lr for row, (method, _) in variants.items()} == {
        row: 0.01 if row == "MLP" else 0.1 for row in study.rows
    }
    assert {(protocol.augmentation, protocol.epochs) for _, protocol in variants.values()} == {
        ("crop-scale-rotate", 1000)
    }
    # Each set is condensed once for all columns, and every row is scored by the same networks.
    assert len(graph_of(study.tasks)) == 6 * 2 + 6 * 6 * 2 * 3
    protocols = {
        column: {tuple(task.protocol for task in study.entries[row, column]) for row in study.rows}
        for column in study.columns
    }
    assert all(len(of_column) == 1 for of_column in protocols.values())


def test_distance_scores_each_network_by_itself() -> None:
    study = of("distance")
    assert study.rows == ("layerwise-cosine", "flat-cosine", "squared")
    for row in study.rows:
        for column, names in {"VGG": ("vgg11-bn", "vgg11"), "MLP": ("mlp", "mlp")}.items():
            (first, _), protocol = sets_of(study, row, column), study.entries[row, column][0].protocol
            assert (asdict(first.method)["distance"], first.method.network, protocol.network) == (row, *names)
    assert not study.claims


@pytest.mark.parametrize(("augmentation", "expected"), [(None, "crop-noise"), ("none", "none")])
def test_networks_with_batch_norm_train_on_noisy_copies(augmentation: str | None, expected: str) -> None:
    study = of("norm", replace(SMALL, augmentation=augmentation))
    protocols = {column: study.entries["none", column][0].protocol for column in study.columns}
    assert [protocol.network for protocol in protocols.values()] == [
        "convnet-nonorm", "convnet-bn", "convnet-ln", "convnet", "convnet-gn",
    ]  # fmt: skip
    assert protocols["batch"].augmentation == expected
    others = {protocol.augmentation for column, protocol in protocols.items() if column != "batch"}
    assert others == {augmentation or "crop-scale-rotate"}
    assert sets_of(study, "batch", "none")[0].method.network == "convnet-bn"


@pytest.mark.parametrize(
    ("name", "row", "column", "condensed_with", "trained_with"),
    [
        ("activation", "sigmoid", "leaky ReLU", "convnet-w32-d2-sigmoid", "convnet-w32-d2-leaky"),
        ("pooling", "none", "max", "convnet-w32-d2-nopool", "convnet-w32-d2-max"),
        ("norm", "group", "layer", "convnet-w32-d2-gn", "convnet-w32-d2-ln"),
        ("depth", "1", "4", "convnet-w32-d1", "convnet-w32-d4"),
        ("width", "256", "128", "convnet-w256-d2", "convnet-d2"),
    ],
)
def test_one_factor_changes_and_the_users_settings_stay(
    name: str, row: str, column: str, condensed_with: str, trained_with: str
) -> None:
    study = of(name, replace(SMALL, method=GradientMatchingConfig(network="convnet-d2-w32", ipc=3)))
    (first, _), protocol = sets_of(study, row, column), study.entries[row, column][0].protocol
    assert (first.method.network, first.method.ipc, protocol.network) == (condensed_with, 3, trained_with)


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        ("activation", "mlp", "mlp has no activation to vary: give a network that has, such as convnet"),
        ("depth", "vgg11", "vgg11 has no depth to vary"),
        ("width", "nets:small", "nets:small has no width to vary"),
        ("width", "convnet-w30-gn", "width 30 cannot have group normalisation"),
        ("norm", "vgg11", "A vgg11 cannot have the norm 'none': choose from batch, instance"),
    ],
)  # fmt: skip
def test_a_factor_that_a_network_lacks_is_named(name: str, network: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(name, replace(SMALL, method=GradientMatchingConfig(network=network)))


def test_orderings_of_a_factor_are_checked_in_three_ways() -> None:
    claims = {claim.text: claim for claim in of("pooling").claims}
    assert len(claims) == 3
    both, condensed, trained = (claim for text, claim in claims.items() if text.startswith("average > max"))
    values = ("none", "max", "average")
    assert (both.better, both.worse) == ((("average", "average"),), (("max", "max"),))
    assert condensed.better == tuple(("average", value) for value in values)
    assert condensed.worse == tuple(("max", value) for value in values)
    assert trained.better == tuple((value, "average") for value in values)
    assert trained.worse == tuple((value, "max") for value in values)
    assert [claim.text for claim in of("norm").claims[:2]] == [
        "instance > none, condensed and trained with",
        "instance > none, trained with (mean over rows)",
    ]
    assert len(of("norm").claims) == 8
    assert [claim.strict for claim in of("activation").claims] == [False] * 3
    assert all("≥" in claim.text for claim in of("activation").claims)
    assert not of("depth").claims


def test_networks_are_those_that_the_user_lists() -> None:
    study = of("cross-architecture", replace(SMALL, networks=("LeNet", "convnet-relu", "convnet-d1-w8")))
    assert study.rows == study.columns == ("LeNet", "ConvNet", "convnet-w8-d1")
    assert study.published["LeNet", "ConvNet"] == Published(90.3, 1.2)
    study = of("distance", replace(SMALL, networks=("resnet18",)))
    assert study.columns == ("ResNet",)
    with pytest.raises(
        InputError, match="networks are convnet, convnet-avg, but some are the same: list each once"
    ):
        of("distance", replace(SMALL, networks=("convnet", "convnet-avg")))


def test_images_per_class_are_those_that_the_user_lists() -> None:
    study = of("ipc", replace(SMALL, ipcs=(20, 1, 7, 20), full_networks=2, full_epochs=5))
    assert (study.rows, study.columns) == (("gradient matching", "herding", "random"), ("1", "7", "20"))
    assert study.plot == "curves"
    assert study.published.keys() == {
        (row, column) for row in ("gradient matching", "herding") for column in ("1", "20")
    }
    assert [task.ipc for task in sets_of(study, "gradient matching", "7")] == [7, 7]
    assert asdict(sets_of(study, "gradient matching", "20")[0].method)["network_epochs"] == 25
    assert [(task.protocol.epochs, task.repeat) for task in study.full] == [(5, 0), (5, 1)]
    assert study.tasks[-2:] == list(study.full)
    # Herding is deterministic, so all its networks train on one set; random sets differ.
    inputs = {row: {inputs_of(task)[0].key for task in study.entries[row, "7"]} for row in study.rows}
    assert {row: len(sets) for row, sets in inputs.items()} == {
        "gradient matching": 2,
        "herding": 1,
        "random": 2,
    }
    protocols = [tuple(task.protocol for task in study.entries[row, "7"]) for row in study.rows]
    assert len(set(protocols)) == 1


@pytest.mark.parametrize("name", ALL)
def test_every_study_can_be_declared_for_digits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_read", READ)
    study = of(name, StudyConfig(seeds=1, repeats=1, iterations=1), DataSource(name="digits"))
    assert study.published == {}
    assert all(len(tasks) == 1 for tasks in study.entries.values())
    content = identified(DataSource(name="digits")).content
    (source,) = inputs_of(study.entries[study.rows[0], study.columns[0]][0])
    assert isinstance(source, Condense | Select)
    assert source.data.content == content


@pytest.mark.parametrize(
    ("name", "row", "column", "mean", "std"),
    [
        ("cross-architecture", "MLP", "ResNet", 80.9, 3.6),
        ("cross-architecture", "ResNet", "MLP", 73.6, 1.2),
        ("cross-architecture", "ConvNet", "ConvNet", 91.7, 0.5),
        ("ipc", "gradient matching", "50", 98.8, None),
        ("ipc", "herding", "1", 89.2, None),
    ],
)
def test_published_values_are_in_the_right_entries(
    name: str, row: str, column: str, mean: float, std: float | None
) -> None:
    assert of(name).published[row, column] == Published(mean, std)


def test_every_data_set_has_its_own_published_values() -> None:
    published = of("ipc", data=replace(MNIST, name="cifar10")).published
    assert published["gradient matching", "10"].mean == 44.9
    assert published["herding", "50"].mean == 40.7


def test_published_tables_have_a_source_and_whole_rows() -> None:
    facts = published._facts()
    for table in facts["table"]:
        assert table["source"]
        assert {len(values) for values in table["rows"].values()} == {len(table["columns"])}
        assert all(len(value) <= 2 for values in table["rows"].values() for value in values)
    assert all(each["source"] for each in facts["ordering"])
    assert published.published_table("activation", "mnist") == ({}, "")


def test_batch_normalisation_trains_on_noisy_copies_in_every_study() -> None:
    networks = ("convnet-bn", "mlp")
    for name in ("cross-architecture", "distance"):
        study = of(name, replace(SMALL, networks=networks))
        found = {task.protocol.network: task.protocol.augmentation for task in study.tasks}
        assert found == {"convnet-bn": "crop-noise", "mlp": "crop-scale-rotate"}
    plain = of("norm", replace(SMALL, augmentation="none"))
    assert {task.protocol.augmentation for task in plain.tasks} == {"none"}


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        (
            "activation",
            {"networks": ("mlp",)},
            "networks is mlp, but this study does not use it",
        ),
        ("norm", {"ipcs": (1, 10)}, "ipcs is 1 10, but this study does not use it: leave --ipcs out"),
        ("cross-architecture", {"ipcs": (10,)}, "ipcs is 10"),
        ("distance", {"ipcs": (10,)}, "ipcs is 10"),
        ("ipc", {"networks": ("mlp",)}, "networks is mlp"),
    ],
)
def test_settings_without_effect_are_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(name, replace(SMALL, **config))


@pytest.mark.parametrize("name", ALL)
def test_other_images_or_methods_have_no_published_numbers(name: str) -> None:
    for data in (replace(MNIST, validation_fraction=0.1), replace(MNIST, config=DataConfig(resize=16))):
        assert of(name, data=data).published == {}
    if name != "distance":
        assert of(name, replace(SMALL, method=GradientMatchingConfig(distance="squared"))).published == {}
