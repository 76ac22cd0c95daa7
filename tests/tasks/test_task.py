"""Keys of tasks: what they depend on, and that those of built-in tasks stay; and the order of tasks."""

import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.selection.by_network import Select
from datacondense.selection.full_tasks import ComputeFeatures, TrainFull
from datacondense.studies.noise import MeasureNoise
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate
from datacondense.tasks.task import Task, description, graph_of, images_of, inputs_of, settings_of
from tests.tasks.made_tasks import MNIST, MadeTask

METHOD = GradientMatchingConfig(precision="float32", engine="eager").resolved()
PROTOCOL = ResolvedProtocol(
    network="mlp", epochs=4, augmentation="none", lr=0.03, batch_size=64, precision="float32", engine="eager"
)
CONDENSE = Condense(data=MNIST, method=METHOD, seed=0, iterations=2)
RANDOM = Select(method="random", data=MNIST, ipc=1)
EVALUATE = Evaluate(source=CONDENSE, data=MNIST, protocol=PROTOCOL, repeat=0)
SEARCH = SearchLearningRate(scores={0.1: (EVALUATE,), 3.0: (replace(EVALUATE, source=RANDOM),)})
SEARCHED = replace(CONDENSE, search=SEARCH)
TRAIN = TrainFull(data=MNIST, protocol=PROTOCOL, repeat=0)
FEATURES = ComputeFeatures(data=MNIST, trained=TRAIN)
HERDING = Select(method="herding", data=MNIST, ipc=2, source=FEATURES)
FORGETTING = Select(method="forgetting", data=MNIST, ipc=2, source=TRAIN)
NOISE = MeasureNoise(data=MNIST, method=METHOD, seed=0, num_networks=2, num_batches=3, at=CONDENSE)

OTHER_CONTENT = {"train": "z", "test": "z", "mean": [0.2], "std": [0.4]}
OTHER = {  # of the settings that are not numbers or switches
    **{"transform": ("max-pool-1",), "siamese": "dsa:color", "distance": "squared", "compare": "all"},
    **{
        "start": "real",
        "network": "lenet",
        "precision": "float64",
        "real_sampling": "representative",
        "engine": "fused",
        "augmentation": "crop",
        "labels": "hard",
        "ipc_of": {"1": 2},
    },
}


def with_content(task: Any, name: str) -> Task:
    """Change one fact about the images."""
    data = replace(MNIST, content={**MNIST.content, name: OTHER_CONTENT[name]})
    return replace(task, data=data)  # type: ignore[no-any-return]


def changed(task: Any, part: str) -> list[Task]:
    """Return the task with each field of a part of it changed alone."""

    def other(name: str, value: Any) -> Any:
        if name in OTHER or isinstance(value, bool):
            return OTHER.get(name, not value)
        if isinstance(value, tuple) and value:
            return value[:-1]
        return value / 2 or 0.5 if isinstance(value, float) else (value or 0) + 1

    settings = getattr(task, part)
    now = {known.name: getattr(settings, known.name) for known in fields(settings) if known.name != "repeats"}
    # CutMix mixes the real images that networks train on, where there are some.
    beside = {"cutmix": {"train_on_real": 8}} if "train_on_real" in now else {}
    return [
        replace(task, **{part: replace(settings, **{name: other(name, value)}, **beside.get(name, {}))})
        for name, value in now.items()
    ]


def test_keys_of_built_in_tasks_are_those_of_the_first_release() -> None:
    timed = replace(CONDENSE, iterations=None, time_budget_from=SEARCHED)
    k_center = replace(HERDING, method="k-center")
    learned = replace(FORGETTING, method="forgetting-learned")
    first = (
        CONDENSE,
        SEARCHED,
        timed,
        EVALUATE,
        SEARCH,
        TRAIN,
        FEATURES,
        RANDOM,
        HERDING,
        k_center,
        FORGETTING,
    )
    assert " ".join(task.key for task in (*first, learned, NOISE, replace(NOISE, at=None))) == (
        "65f3bb488a6344df 098de86f4b33e0b5 3d125b36f6f37f35 1ae577a7bdf10002 37069b32ce9262c2 957e06a004b21126 "
        "a569b9fc520c4e08 3a0672ed097ba160 1c02a7197257a26a c7c53a87a0ad6dcb 7bfdcdbebb413f3c 0926d36eae898a31 "
        "6abff15b81123e34 7e5a7967ec4faa39"
    )


def test_every_setting_of_built_in_tasks_changes_the_key() -> None:
    training = ("train", "mean", "std")
    timed = replace(CONDENSE, iterations=None, time_budget_from=CONDENSE)
    tasks: list[Task] = [
        CONDENSE,
        *changed(CONDENSE, "method"),
        *(with_content(CONDENSE, name) for name in training),
        *(replace(CONDENSE, **change) for change in ({"seed": 1}, {"iterations": 3}, {"search": SEARCH})),
        *(timed, replace(timed, search=SEARCH), replace(timed, time_budget_from=SEARCHED)),
        RANDOM,
        *(with_content(RANDOM, name) for name in training),
        *(replace(RANDOM, ipc=2), replace(RANDOM, seed=1)),
        EVALUATE,
        *changed(EVALUATE, "protocol"),
        with_content(EVALUATE, "test"),
        *(
            replace(EVALUATE, **change)
            for change in ({"repeat": 1}, {"source": RANDOM}, {"source": SEARCHED})
        ),
        *(TRAIN, replace(TRAIN, repeat=1), *(with_content(TRAIN, name) for name in OTHER_CONTENT)),
        *changed(TRAIN, "protocol"),
        *(FEATURES, replace(FEATURES, trained=replace(TRAIN, repeat=1))),
        *(HERDING, replace(HERDING, ipc=3), replace(HERDING, method="k-center")),
        replace(HERDING, source=replace(FEATURES, trained=replace(TRAIN, repeat=1))),
        *(FORGETTING, replace(FORGETTING, ipc=3), replace(FORGETTING, method="forgetting-learned")),
        replace(FORGETTING, source=replace(TRAIN, repeat=1)),
        *(replace(NOISE, **change) for change in ({"seed": 1}, {"num_batches": 4}, {"at": None})),
    ]
    assert len({task.key for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CONDENSE, replace(CONDENSE, method=GradientMatchingConfig(**asdict(METHOD)).resolved())),
        (CONDENSE, replace(CONDENSE, data=replace(MNIST, name="/elsewhere/mnist.npz"))),
        (CONDENSE, replace(CONDENSE, data=replace(MNIST, config=DataConfig(data_root=Path("/mirror"))))),
        (CONDENSE, with_content(CONDENSE, "test")),
        (RANDOM, replace(RANDOM, data=replace(MNIST, name="elsewhere"))),
        (RANDOM, with_content(RANDOM, "test")),
        (EVALUATE, with_content(EVALUATE, "train")),
        (EVALUATE, replace(EVALUATE, protocol=replace(PROTOCOL, repeats=3))),
        (FEATURES, replace(FEATURES, trained=replace(TRAIN, protocol=replace(PROTOCOL, repeats=7)))),
        (*(replace(CONDENSE, method=replace(METHOD, network_momentum=zero)) for zero in (0, 0.0)),),
        (HERDING, pickle.loads(pickle.dumps(HERDING))),
    ],
)
def test_equal_tasks_have_equal_keys(first: Task, second: Task) -> None:
    assert first.key == second.key


def test_options_of_a_method_that_are_off_are_not_in_the_key() -> None:
    # Otherwise every new option would change the keys of all recorded tasks.
    method = settings_of(CONDENSE)["method"]
    off = {"transform", "class_collective", "shrink_pixels", "iterate_averaging", "siamese"}
    assert not off & method.keys()
    assert {"ipc", "network", "network_momentum", "engine"} <= method.keys()
    zero = settings_of(replace(CONDENSE, method=replace(METHOD, matching_steps=2, network_epochs=0)))
    assert zero["method"]["network_epochs"] == 0


# Tasks of one's own.


@dataclass(frozen=True, kw_only=True)
class Options:
    size: int
    rate: float = 0.5
    mirrored: bool = False


@dataclass(frozen=True, kw_only=True)
class Own(Task):
    options: Options
    data: DataSource = images_of("test")
    everything: DataSource = MNIST
    stages: tuple[DataSource, ...] = images_of("train")
    left: Task | None = None
    right: Task | None = None
    many: tuple[Any, ...] = ()
    by_name: Mapping[str, Any] | None = None
    rate: float = 1.0


OWN = Own(options=Options(size=3), data=MNIST, stages=(MNIST, replace(MNIST, content={"train": "z"})))
A, B, C = (MadeTask(name=name) for name in "abc")


def test_settings_and_inputs_follow_from_fields() -> None:
    data = {
        "data": {"test": "y"},
        "everything": MNIST.content,
        "stages": [{"train": "x"}, {"train": "z"}],
    }
    assert settings_of(OWN) == {**data, "options": {"size": 3, "rate": 0.5}}
    assert settings_of(replace(OWN, options=Options(size=3, mirrored=True), rate=2)) == {
        **data,
        "options": {"size": 3, "rate": 0.5, "mirrored": True},
        "rate": 2.0,
    }
    assert inputs_of(OWN) == ()
    full = replace(OWN, many=((A, B), C), by_name={"x": (B,), "y": A}, right=C)
    assert inputs_of(full) == (C, A, B, C, B, A)
    assert description(full) == {
        "cell": f"{__name__}:Own",
        "settings": {
            **settings_of(OWN),
            "right": C.key,
            "many": [[A.key, B.key], C.key],
            "by_name": [["x", [B.key]], ["y", A.key]],
        },
        "inputs": [task.key for task in (C, A, B, C, B, A)],
    }


def test_another_setting_or_another_place_of_an_input_changes_the_key() -> None:
    tasks = [
        OWN,
        *(replace(OWN, left=A), replace(OWN, right=A), replace(OWN, left=B)),
        *(replace(OWN, many=many) for many in ((A,), (A, B), (B, A), ((A, B), (C,)), ((A,), (B, C)))),
        *(replace(OWN, many=((A, weight), (B, 1 - weight))) for weight in (0.25, 0.75)),
        *(replace(OWN, by_name=named) for named in ({"x": A}, {"y": A}, {"x": A, "y": B}, {"x": (A, B)})),
        *(replace(OWN, rate=2.0), replace(OWN, options=Options(size=4)), with_content(OWN, "test")),
    ]
    assert len({task.key for task in tasks}) == len(tasks)
    assert replace(OWN, rate=2).key == replace(OWN, rate=2.0).key
    assert with_content(OWN, "train").key == OWN.key


def test_a_raised_version_or_a_new_class_gives_another_key_and_a_tag_keeps_it() -> None:
    def made(name: str, **constants: Any) -> str:
        kind = make_dataclass(name, [("x", int)], bases=(Task,), frozen=True, namespace=constants)
        return str(kind(x=1).key)

    assert len({made("First"), made("First", version=2), made("First", version=3), made("Second")}) == 4
    assert made("First", tag="x") == made("Second", tag="x") == made("Second", tag="x", version=1)
    assert len({made("First", tag="x"), made("First", tag="x", version=2), made("First", tag="y")}) == 3


def test_a_task_without_run_says_so() -> None:
    class Empty(Task):
        tag: ClassVar[str] = "empty"

    with pytest.raises(NotImplementedError, match=r"Empty has no run\(workspace\)"):
        Empty().run(None)  # type: ignore[arg-type]


def test_tasks_are_listed_once_and_after_their_inputs() -> None:
    def made(name: str, *inputs: MadeTask) -> MadeTask:
        return MadeTask(name=name, inputs=inputs)

    top = made("top")
    left, right = made("left", top), made("right", top)
    bottom = made("bottom", left, right)
    late = made("late", top, bottom)
    wanted = [late, right, made("alone"), made("bottom", made("left", top), right)]

    graph = graph_of(wanted)
    assert list(graph.values()) == [top, left, right, bottom, late, made("alone")]
    assert all(key == task.key for key, task in graph.items())
    unfinished = graph_of(wanted, {bottom.key, top.key}.__contains__)
    assert list(unfinished.values()) == [top, bottom, late, right, made("alone")]
    assert graph_of([]) == {}
