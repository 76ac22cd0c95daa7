"""Variants of a study: settings that they share and change, what is refused, and tasks of one kind."""

from collections.abc import Callable
from dataclasses import asdict, replace
from math import isclose
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory, grid
from datacondense.studies.study import Claim
from datacondense.studies.tasks import Condense
from tests.studies.test_declarations import SMALL, of, sets_of
from tests.tasks.made_tasks import MNIST


def test_scale_of_the_image_learning_rate_reaches_every_variant() -> None:
    study = of("cross-architecture", replace(SMALL, image_lr_scale=5.0))
    for row in study.rows:
        lr = sets_of(study, row, "MLP")[0].method.image_lr
        assert lr is not None
        assert isclose(lr, 0.05 if row == "MLP" else 0.5)


@pytest.mark.parametrize(("ipc", "iterations"), [(1, 250), (10, 25), (20, 13), (50, 5)])
def test_image_updates_give_equal_work_for_every_ipc(ipc: int, iterations: int) -> None:
    tasks = TaskFactory(data=MNIST, config=replace(SMALL, image_updates=250))
    variants: list[tuple[dict[str, Any], int]] = [
        ({}, iterations),
        ({"matching_steps": 3}, 84),
        ({"iterations": 6}, 6),
    ]
    for changes, expected in variants:
        source = tasks.condensed(ipc=ipc, **changes)(0)
        assert isinstance(source, Condense)
        assert source.iterations == expected


def test_ambiguous_labels_are_refused() -> None:
    study = of("pooling")
    with pytest.raises(InputError, match="condensed with has the label 'max' twice: make labels unique"):
        replace(study, rows=(*study.rows, "max"))
    with pytest.raises(InputError, match="trained with has the label 'none' twice"):
        replace(study, columns=("none", "none"))


def test_variants_share_the_users_settings_and_may_change_them() -> None:
    method = GradientMatchingConfig(precision="float64", engine="eager", network_lr=0.05)
    config = replace(SMALL, method=method, epochs=8, augmentation="noise")
    tasks = TaskFactory(data=MNIST, config=config)
    source = tasks.condensed(iterations=6, image_momentum=0.1)
    first = source(1)
    assert isinstance(first, Condense)
    settings = asdict(first.method)
    assert (first.seed, first.iterations, settings["image_momentum"], settings["network_lr"]) == (
        1,
        6,
        0.1,
        0.05,
    )
    entries = grid(tasks, rows={"r": source}, columns={"c": {}, "d": {"epochs": 3, "lr": 0.1}})
    protocol, other = (entries["r", column][4].protocol for column in "cd")
    assert (protocol.epochs, protocol.augmentation, protocol.lr, protocol.seed) == (8, "noise", 0.01, 1)
    assert (protocol.precision, protocol.engine) == ("float64", "eager")
    assert (other.epochs, other.lr) == (3, 0.1)
    assert entries["r", "c"][4].source == first
    # BatchNorm becomes InstanceNorm where the variant does not name a network.
    assert tasks.scored(tasks.condensed(network="convnet-bn"))[0].protocol.network == "convnet"


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda tasks: tasks.condensed(width=3), "no setting 'width' of GradientMatchingConfig: choose from ipc"),
        (lambda tasks: tasks.scored(tasks.condensed(), iterations=3), "no setting 'iterations' of EvaluationConfig"),
        (lambda tasks: tasks.condensed(ipc=0), "ipc is 0, but must be 1 or more"),
        (lambda tasks: tasks.condensed(network="convnot"), "no network 'convnot'"),
        (lambda tasks: tasks.scored(tasks.condensed(), epochs=0), "epochs is 0, but must be 1 or more"),
    ],
)  # fmt: skip
def test_unknown_settings_and_wrong_values_are_refused(
    declare: Callable[[TaskFactory], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        declare(TaskFactory(data=MNIST, config=SMALL))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        *(
            ({name: 0}, f"{name} is 0, but must be 1 or more")
            for name in (
                "iterations",
                "image_updates",
                "seeds",
                "repeats",
                "epochs",
                "full_epochs",
            )
        ),
        ({"full_networks": -1}, "full_networks is -1, but must be 0 or more"),
        ({"image_lr_scale": 0.0}, "image_lr_scale is 0.0, but must be a number above 0"),
        ({"image_lr_scale": float("nan")}, "image_lr_scale is nan"),
        ({"image_lr_scale": float("inf")}, "image_lr_scale is inf"),
        ({"ipcs": (10, 0)}, "ipcs are 10, 0, but each must be 1 or more"),
        ({"augmentation": "blur"}, "blur"),
    ],
)
def test_wrong_studies_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StudyConfig(**config)


def test_the_published_numbers_are_the_defaults() -> None:
    config = StudyConfig()
    assert (config.iterations, config.method.published_iterations, config.seeds, config.repeats) == (
        None,
        1000,
        5,
        20,
    )


def test_variants_do_not_differ_in_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("datacondense.studies.factory.has_bfloat16", lambda has=has: has)
        study = of("activation")
        methods = {source.method.precision for row in study.rows for source in sets_of(study, row, row)}
        assert methods | {task.protocol.precision for task in study.tasks} == {expected}
    given = of("activation", replace(SMALL, method=GradientMatchingConfig(precision="float64")))
    assert {task.protocol.precision for task in given.tasks} == {"float64"}


def test_inconsistent_declarations_are_refused() -> None:
    study = of("activation")
    tasks = next(iter(study.entries.values()))
    for changes, message in (
        ({"entries": {("ReLU", "gelu"): tasks}}, r"The entry \('ReLU', 'gelu'\) is in no row and column"),
        (
            {"entries": {("ReLU", "ReLU"): (*tasks, tasks[0])}, "claims": ()},
            "two networks with the same seed and number",
        ),
        (
            {"claims": (Claim(text="x > y", better=(("x", "x"),), worse=(("ReLU", "ReLU"),)),)},
            r"'x > y' refers to \('x', 'x'\), which is no entry: correct its labels",
        ),
    ):
        with pytest.raises(InputError, match=message):
            replace(study, **changes)


def test_kinds_differ_where_times_do() -> None:
    tasks = TaskFactory(data=MNIST, config=SMALL)
    variants: list[dict[str, Any]] = [
        {},
        {"real_batch": 16},
        {"iterations": 7},
        {"ipc": 10},
        {"network": "lenet"},
        {"network_epochs": 9, "ipc": 10},
    ]
    kinds = [tasks.condensed(**variant)(0).label for variant in variants]  # type: ignore[attr-defined]
    assert len(set(kinds)) == len(kinds)
    source = tasks.selected("random", 1)
    protocols: list[dict[str, Any]] = [{}, {"epochs": 7}, {"augmentation": "none"}]
    assert len({tasks.scored(source, **protocol)[0].label for protocol in protocols}) == 3
