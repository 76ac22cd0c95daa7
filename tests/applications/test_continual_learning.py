"""The stages of continual learning: what each trains on, and that a stopped one goes on to the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.applications import continual_learning
from datacondense.applications.continual_learning import KeepAll, LearnEndToEnd, LearnFromMemory, LearnStage
from datacondense.applications.continual_study import ContinualConfig, continual_study
from datacondense.applications.distillation import DistillationConfig, distilling, grown
from datacondense.applications.stream import Stream, class_stream
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.config import DataConfig
from datacondense.data.data_source import identified
from datacondense.data.joining import joined
from datacondense.errors import InputError
from datacondense.evaluation import full_training
from datacondense.evaluation.full_training import FullTraining, TrainedNetwork, load_network
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator
from datacondense.run_folder import RunFolder
from datacondense.selection.by_network import Select
from datacondense.studies.config import StudyConfig
from datacondense.studies.tasks import Condense
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import Task
from datacondense.tasks.workers import inline
from datacondense.training import TrainState, train

PROTOCOL = ResolvedProtocol(
    network="convnet-w4-d1-bn",
    epochs=1,
    augmentation="none",
    lr=0.05,
    batch_size=64,
    precision="float32",
    engine="eager",
)
STEPS = 12


@cache
def stream() -> Stream:
    return class_stream("digits", DataConfig(), 3, None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path / "cells"))


def kept(stage: int, seed: int = 0) -> Select:
    return Select(method="random", ipc=2, data=stream().stages[stage], seed=seed)


def end_to_end(memory: Sequence[Task], **changes: Any) -> LearnEndToEnd:
    """Return the stage that follows the tasks of a memory, without fine-tuning."""
    stage = len(memory)
    before = end_to_end(memory[:-1]) if memory else None
    stages = stream().stages[: stage + 1]
    given: dict[str, Any] = {"stages": stages, "memory": tuple(memory), "before": before, **changes}
    return LearnEndToEnd(protocol=PROTOCOL, steps=STEPS, **given)


def run(task: LearnStage, workspace: Workspace) -> TrainedNetwork:
    """Run a stage and all before; return its network."""
    outcome = schedule([task], workspace.store, inline(1))
    assert not outcome.failed
    return task.trained(workspace)


def same(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    return all(
        torch.equal(tensor, theirs[name])
        for mine, theirs in ((one.parameters, other.parameters), (one.buffers, other.buffers))
        for name, tensor in mine.items()
    )


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Images, network and rate of each training, in order."""
    seen: list[dict[str, Any]] = []

    class Noted(continual_learning._Phase):
        def __init__(self, images: ImageSet, steps: int, number: int, before: Any, **options: Any) -> None:
            super().__init__(images, steps, number, before, **options)
            seen.append({"images": images, "before": before, "protocol": self._protocol, "loss": self._loss})

    monkeypatch.setattr(continual_learning, "_Phase", Noted)
    return seen


def test_unlimited_memory_is_joint_training_bit_for_bit(workspace: Workspace) -> None:
    stages = stream().stages
    found = run(end_to_end([KeepAll(data=stages[0])]), workspace)
    before = end_to_end([]).trained(workspace)
    images = joined([stage.read().train for stage in stages[:2]])
    epochs = round(STEPS / -(-len(images) // PROTOCOL.batch_size))
    joint = FullTraining(images, replace(PROTOCOL, epochs=epochs), 2)
    fresh = joint.start()
    first = {
        name: torch.cat([old, fresh.state.parameters[name][len(old) :]])
        for name, old in before.parameters.items()
    }
    state = fresh.state._replace(parameters=first)
    expected = joint.trained(fresh._replace(state=state, buffers=before.buffers))
    assert same(found, TrainedNetwork(found.network, expected.state.parameters, expected.buffers))


def test_a_stage_trains_on_the_memory_and_the_new_images(
    workspace: Workspace, trained_on: list[dict[str, Any]]
) -> None:
    run(end_to_end([kept(0), kept(1)]), workspace)
    first, second, third = trained_on
    assert [len(each["images"]) for each in (second, third)] == [
        4 * 2 + len(stream().stages[1].read().train),
        4 * 2 + 3 * 2 + len(stream().stages[2].read().train),
    ]
    assert third["images"].class_names == tuple("0123456789")
    assert (third["images"].labels.unique() == torch.arange(10)).all()
    assert first["before"] is None
    assert third["before"].network.num_classes == 7
    assert same(third["before"], end_to_end([kept(0)]).trained(workspace))


def test_fine_tuning_is_in_balance_at_a_tenth_of_the_rate(
    workspace: Workspace, trained_on: list[dict[str, Any]]
) -> None:
    task = end_to_end([kept(0)], own=kept(1), fine_tuning_steps=5, distillation=DistillationConfig())
    run(task, workspace)
    _, unbalanced, balanced = trained_on
    assert balanced["images"].class_sizes == (2,) * 7
    assert balanced["protocol"].lr == pytest.approx(PROTOCOL.lr * 0.1)
    assert balanced["protocol"].epochs == 5  # of one batch each
    left = RunFolder(workspace.folder(task) / "unbalanced", full_training.NETWORK)
    assert same(
        balanced["before"], full_training.read_network(left, balanced["before"].network, workspace.device)
    )
    # Its teacher is the network before fine-tuning, on all classes; before that the stage's, on those that it knows.
    assert [each["loss"].args[1:] for each in (unbalanced, balanced)] == [(7, True), (7, False)]
    assert unbalanced["before"].network.num_classes == 4


def test_without_distillation_only_labels_teach(
    workspace: Workspace, trained_on: list[dict[str, Any]]
) -> None:
    run(end_to_end([kept(0)]), workspace)
    assert [each["loss"] for each in trained_on] == [torch.nn.functional.cross_entropy] * 2


def test_the_teacher_has_its_say(workspace: Workspace) -> None:
    config = DistillationConfig()
    found = run(end_to_end([kept(0)], distillation=config), workspace)
    before, fresh = (
        end_to_end([]).trained(workspace),
        found.network.draw(seeded_generator(0, "whole network", 2)),
    )
    images = joined([kept(0).image_set(workspace), stream().stages[1].read().train])
    numbers = (before.parameters, before.buffers)
    own = partial(found.network, training=True)
    model, loss = distilling(own, before.network, numbers, config, num_classes=7, old_only=True)
    buffers = {name: buffer.clone() for name, buffer in before.buffers.items()}
    epochs = round(STEPS / -(-len(images) // PROTOCOL.batch_size))
    expected = train(
        model,
        TrainState.begun(grown(before.parameters, fresh)),
        images.normalised(),
        images.labels,
        epochs=epochs,
        sgd=lambda epoch: PROTOCOL.sgd(epoch, epochs),
        order=partial(seeded_generator, 0, "whole order", 2),
        loss=loss,
        buffers=buffers,
    )
    for name, parameter in expected.parameters.items():
        torch.testing.assert_close(found.parameters[name], parameter)


def test_from_memory_a_fresh_network_sees_the_memory_alone(workspace: Workspace) -> None:
    sets = (kept(0), kept(1))
    task = LearnFromMemory(
        stages=stream().stages[:2], memory=sets, protocol=replace(PROTOCOL, epochs=3), repeat=1
    )
    found = run(task, workspace)
    images = joined([each.image_set(workspace) for each in sets])
    assert len(images) == 14
    training = FullTraining(images, task.protocol, 1)
    expected = training.trained(training.start())
    assert same(found, TrainedNetwork(found.network, expected.state.parameters, expected.buffers))


def test_classes_that_nothing_was_kept_of_are_tested_all_the_same(workspace: Workspace) -> None:
    task = LearnFromMemory(
        stages=stream().stages[:2],
        memory=(KeepAll(data=stream().stages[1]),),
        protocol=replace(PROTOCOL, epochs=4),
    )
    assert run(task, workspace).network.num_classes == 7
    old, new = workspace.result(task)["accuracies"]
    assert old == 0.0
    assert new > 0.7
    assert workspace.result(task)["accuracy"] == pytest.approx((old + new) / 2)


def test_a_network_can_be_loaded(workspace: Workspace) -> None:
    task = end_to_end([])
    expected = run(task, workspace)
    loaded = load_network(workspace.folder(task) / "network.safetensors")
    assert same(loaded, expected)
    images = stream().stages[0].read().train
    right = loaded.network(loaded.parameters, images.normalised(), loaded.buffers).argmax(1) == images.labels
    assert right.float().mean() > 0.5


class KillError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stopped_at", [1, 5])
def test_a_stopped_stage_goes_on_to_the_same_bytes(
    stopped_at: int, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = end_to_end([kept(0)], own=kept(1), fine_tuning_steps=6, distillation=DistillationConfig())
    other = Workspace(Store(tmp_path / "unbroken"))
    expected = run(task, other)
    outcome = schedule([end_to_end([]), kept(0), kept(1)], workspace.store, inline(1))
    assert not outcome.failed
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0.0)
    left = stopped_at

    def killed(*args: Any, after_epoch: Callable[[Any], None], **options: Any) -> Any:
        def after(state: Any) -> None:
            nonlocal left
            after_epoch(state)
            left -= 1
            if left == 0:
                raise KillError

        return train(*args, after_epoch=after, **options)

    monkeypatch.setattr(full_training, "train", killed)
    with pytest.raises(KillError):
        task.run(workspace)
    epochs: list[int] = []

    def counted(*args: Any, after_epoch: Callable[[TrainState], None], **options: Any) -> TrainState:
        def after(state: TrainState) -> None:
            epochs.append(state.epoch)
            after_epoch(state)

        return train(*args, after_epoch=after, **options)

    monkeypatch.setattr(full_training, "train", counted)
    task.run(workspace)
    assert len(epochs) == 2 + 6 - stopped_at, "what was done is not done again"
    assert same(task.trained(workspace), expected)


CONFIG = ContinualConfig(
    memories=("gradient-matching", "random", "herding", "all", "nothing"),
    study=StudyConfig(seeds=2, repeats=2, method=GradientMatchingConfig(ipc=3)),
)


def test_each_set_is_made_of_its_own_stage_alone() -> None:
    study = continual_study(lambda seed: stream(), CONFIG)
    for row in ("gradient-matching", "random", "herding, distilled"):
        for task in study.entries[row, "3"]:
            assert [each.data for each in (*task.memory, task.own)] == list(stream().stages)
            assert {each.ipc for each in task.memory} == {3}
    condensed = study.entries["gradient-matching", "3"][1].memory[0]
    assert isinstance(condensed, Condense)
    assert condensed.seed == 1


def test_a_memory_searches_its_learning_rate_on_its_own_stage() -> None:
    config = StudyConfig(seeds=1, override=("dm.image_lrs=0.1,1",))
    study = continual_study(lambda seed: stream(), ContinualConfig(memories=("dm",), study=config))
    (condensed,) = study.entries["distribution-matching", "2"][0].memory
    trial, *_ = condensed.search.scores[1]
    held_out = identified(replace(stream().stages[0], validation_fraction=0.1, content={}))
    assert trial.data == trial.source.data == held_out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_networks": 0}, "full_networks is given, but continual learning does not use it: leave --full-net"),
        ({"override": ("dm.draws=9",)}, "distribution-matching is not compared here: leave it out"),
        ({"override": ("dc.ipc=3",)}, "images per class are the same for all memories: give --ipc"),
    ],
)  # fmt: skip
def test_settings_without_effect_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, study=replace(CONFIG.study, **changes))


def test_the_first_stage_is_shared_by_all_memories() -> None:
    study = continual_study(lambda seed: stream(), CONFIG)
    for seed in range(2):
        assert len({study.entries[row, "1"][seed].key for row in study.rows}) == 1
    assert study.entries["random", "1"][0].key != study.entries["random", "1"][1].key
    assert len({study.entries[row, "2"][0].key for row in study.rows}) == len(study.rows)


def test_bounds_keep_all_or_nothing_and_skip_fine_tuning() -> None:
    study = continual_study(lambda seed: stream(), CONFIG)
    upper, lower = (study.entries[row, "3"][0] for row in ("all", "nothing"))
    assert [each.data for each in upper.memory] == list(stream().stages[:2])
    assert {type(each) for each in upper.memory} == {KeepAll}
    assert lower.memory == ()
    assert upper.own is lower.own is None
    assert "all, distilled" not in study.rows
    assert "nothing, distilled" in study.rows


def test_from_memory_networks_are_repeated_and_bounds_train_on_real_images() -> None:
    study = continual_study(lambda seed: stream(), replace(CONFIG, protocol="from-memory"))
    assert set(study.rows) == set(CONFIG.memories)
    found = study.entries["random", "2"]
    assert [(task.protocol.seed, task.repeat) for task in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {task.protocol.epochs for task in found} == {300}
    for row, number in (("all", 2), ("nothing", 1)):
        task = study.entries[row, "2"][0]
        assert task.protocol.epochs == CONFIG.study.full_epochs
        assert [each.data for each in task.memory] == list(stream().stages[2 - number : 2])


def test_what_is_published_belongs_to_its_own_stream() -> None:
    digits = replace(stream(), names=("svhn", "mnist", "usps"))
    study = continual_study(lambda seed: digits, CONFIG)
    assert study.published["gradient-matching", "3"].mean == 93.0
    assert [claim.text for claim in study.claims] == [
        "gradient-matching > herding, stage 3",
        "gradient-matching, distilled > herding, distilled, stage 3",
    ]
    assert not continual_study(lambda seed: stream(), CONFIG).published
