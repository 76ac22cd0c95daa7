"""The keys of tasks: equal settings share one, any other setting changes it; and the order of tasks."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.config import DataConfig
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.facts import facts_of
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.selections import SelectRandom
from datacondense.studies.task import Task, by_depth, description, task_key
from datacondense.studies.tasks import Condense, Evaluate
from tests.studies.made_tasks import MNIST, MadeTask

METHOD = GradientMatchingConfig().resolved()
PROTOCOL = EvaluationConfig().resolved(condensed_with="convnet", **facts_of("mnist")._asdict())
CONDENSE = Condense(data=MNIST, method=METHOD, seed=0, iterations=2)
RANDOM = SelectRandom(data=MNIST, ipc=1, seed=0)
EVALUATE = Evaluate(source=CONDENSE, protocol=PROTOCOL, repeat=0)

OTHER_CONTENT = {"train": "z", "test": "z", "mean": [0.2], "std": [0.4]}
OTHER_METHOD = {
    "transform": ("max-pool-1",),
    "class_collective": True,
    "shrink_pixels": True,
    "iterate_averaging": True,
    "siamese": "dsa:color",
    "ipc": 2,
    "network": "lenet",
    "distance": "squared",
    "compare": "all",
    "start": "real",
    "matching_steps": 2,
    "network_epochs": 2,
    "image_lr": 0.2,
    "image_momentum": 0.6,
    "network_lr": 0.02,
    "network_momentum": 0.6,
    "network_batch": 128,
    "real_batch": 128,
    "precision": "float64",
    "engine": "eager",
    "graph_memory": 64,
}
OTHER_PROTOCOL = {
    "learned_steps": True,
    "network": "lenet",
    "epochs": 7,
    "augmentation": "none",
    "lr": 0.02,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "batch_size": 128,
    "seed": 1,
    "precision": "float64",
    "engine": "eager",
}


def with_content(task: Task, name: str) -> Task:
    """Change one fact about the images."""
    data = replace(MNIST, content={**MNIST.content, name: OTHER_CONTENT[name]})
    if isinstance(task, Evaluate):
        return replace(task, source=replace(task.source, data=data))  # type: ignore[type-var]
    assert isinstance(task, Condense | SelectRandom)
    return replace(task, data=data)


def changed(task: Condense | Evaluate, part: str, change: Mapping[str, Any]) -> list[Task]:
    """Return the task with each change alone."""
    return [
        replace(task, **{part: replace(getattr(task, part), **{name: value})})
        for name, value in change.items()
    ]


def test_every_setting_changes_the_key() -> None:
    assert OTHER_METHOD.keys() == {field.name for field in fields(METHOD)}
    assert OTHER_PROTOCOL.keys() | {"repeats"} == {field.name for field in fields(PROTOCOL)}
    tasks = [
        CONDENSE,
        *changed(CONDENSE, "method", OTHER_METHOD),
        *(with_content(CONDENSE, name) for name in ("train", "mean", "std")),
        replace(CONDENSE, seed=1),
        replace(CONDENSE, iterations=3),
        RANDOM,
        *(with_content(RANDOM, name) for name in ("train", "mean", "std")),
        replace(RANDOM, ipc=2),
        replace(RANDOM, seed=1),
        EVALUATE,
        *changed(EVALUATE, "protocol", OTHER_PROTOCOL),
        *(with_content(EVALUATE, name) for name in OTHER_CONTENT),
        replace(EVALUATE, repeat=1),
        replace(EVALUATE, source=RANDOM),
        replace(EVALUATE, source=replace(CONDENSE, seed=1)),
    ]
    assert len({task_key(task) for task in tasks}) == len(tasks)


def test_options_that_are_off_are_not_in_the_key() -> None:
    # Otherwise every new option would change the keys of all recorded tasks.
    method = CONDENSE.settings["method"]
    off = {"transform", "class_collective", "shrink_pixels", "iterate_averaging", "siamese"}
    assert not off & method.keys()
    assert {"ipc", "network", "network_momentum", "engine"} <= method.keys()
    zero = replace(CONDENSE, method=replace(METHOD, matching_steps=2, network_epochs=0))
    assert zero.settings["method"]["network_epochs"] == 0


WITHOUT_MOMENTUM = replace(CONDENSE, method=replace(METHOD, network_momentum=0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CONDENSE, replace(CONDENSE, method=GradientMatchingConfig(**asdict(METHOD)))),
        (CONDENSE, replace(CONDENSE, method=GradientMatchingConfig())),
        (CONDENSE, replace(CONDENSE, method=replace(METHOD, network="ConvNet-relu"))),
        (CONDENSE, replace(CONDENSE, data=replace(MNIST, name="/elsewhere/mnist.npz"))),
        (CONDENSE, replace(CONDENSE, data=replace(MNIST, config=DataConfig(data_root=Path("/mirror"))))),
        (CONDENSE, with_content(CONDENSE, "test")),
        (RANDOM, replace(RANDOM, data=replace(MNIST, name="elsewhere"))),
        (RANDOM, with_content(RANDOM, "test")),
        (EVALUATE, replace(EVALUATE, protocol=replace(PROTOCOL, repeats=3))),
        (
            replace(CONDENSE, method=replace(METHOD, network_momentum=0)),
            replace(CONDENSE, method=replace(METHOD, network_momentum=0.0)),
        ),
    ],
)
def test_equal_tasks_have_equal_keys(first: Task, second: Task) -> None:
    assert task_key(first) == task_key(second)


@pytest.mark.parametrize(
    ("variant", "same"),
    [
        ({}, {"image_lr": 0.1, "matching_steps": 1, "network_epochs": 1, "iterations": 1000}),
        ({}, {"network": "convnet-relu"}),
        ({"ipc": 10}, {"ipc": 10, "matching_steps": 10, "network_epochs": 50}),
        ({"network": "mlp"}, {"network": "MLP", "image_lr": 0.01}),
    ],
)
def test_an_explicit_default_does_not_change_the_key(variant: dict[str, Any], same: dict[str, Any]) -> None:
    tasks = TaskFactory(data=MNIST, config=StudyConfig(seeds=1, repeats=1))
    (first,), (second,) = (tasks.scored(tasks.condensed(**changes)) for changes in (variant, same))
    assert task_key(first) == task_key(second)
    (explicit,) = tasks.scored(
        tasks.condensed(**variant),
        network=first.protocol.network,
        epochs=1000,
        augmentation="crop-scale-rotate",
    )
    assert task_key(explicit) == task_key(first)


def test_a_description_is_complete() -> None:
    described = description(EVALUATE)
    assert described["cell"] == "EvaluateCell"
    assert described["inputs"] == [task_key(CONDENSE)]
    assert described["settings"]["protocol"]["epochs"] == 1000
    assert description(CONDENSE)["settings"]["method"]["name"] == "gradient-matching"
    assert len(task_key(EVALUATE)) == 16


def test_inputs_come_in_earlier_groups_each_once(tmp_path: Path) -> None:
    def made(name: str, *inputs: MadeTask) -> MadeTask:
        return MadeTask(name=name, log=tmp_path, inputs=inputs)

    top = made("top")
    left, right = made("left", top), made("right", top)
    bottom = made("bottom", left, right)
    late = made("late", top, bottom)  # needs something from the first group and from the third
    wanted = [late, right, made("alone"), bottom, made("top")]

    ordered = [[task.settings["name"] for task in group.values()] for group in by_depth(wanted)]

    assert ordered == [["top", "alone"], ["left", "right"], ["bottom"], ["late"]]
    assert all(key == task_key(task) for group in by_depth(wanted) for key, task in group.items())
    assert by_depth([]) == []
