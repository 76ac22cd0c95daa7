"""Full training, its features, and the images selected by them."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datacondense.augment.per_image import apply_augmentation, draw_augmentation
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation import full_training
from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.networks.backend import Backend
from datacondense.networks.builder import build_network
from datacondense.networks.features import features_of
from datacondense.random import seeded_generator
from datacondense.selection.herding import select_herding
from datacondense.selection.k_center import select_k_center
from datacondense.studies import features as feature_task
from datacondense.studies import full_training as training_task
from datacondense.studies import selections
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.features import ComputeFeatures
from datacondense.studies.full_training import TrainFull
from datacondense.studies.runner import StoreWorkspace, run_tasks
from datacondense.studies.selections import SelectByFeatures, SelectRandom
from datacondense.studies.store import Store
from datacondense.studies.task import Task, task_key
from datacondense.studies.tasks import Evaluate, SetTask
from datacondense.studies.workers import Workers
from datacondense.tensor_files import read_tensors, write_tensors
from datacondense.training import SGD, TrainState, train, zero_velocity

PROTOCOL = ResolvedProtocol(
    network="mlp", epochs=4, augmentation="none", lr=0.03, batch_size=64, precision="float32", engine="eager"
)
# Batch normalisation has buffers, and each batch is changed at random.
HARD = replace(PROTOCOL, network="convnet-w4-d1-bn", augmentation="crop-rotate", batch_size=256)


class InterruptionError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def data() -> DataSource:
    """The embedded digits."""
    return identified(DataSource(name="digits"))


@pytest.fixture
def workspace(tmp_path: Path) -> StoreWorkspace:
    """A folder of tasks."""
    return StoreWorkspace(Store(tmp_path / "cells"), "cpu")


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are trained, in order."""
    done: list[int] = []

    def counted(*args: Any, sgd: Callable[[int], SGD], **options: Any) -> TrainState:
        def noted(epoch: int) -> SGD:
            done.append(epoch)
            return sgd(epoch)

        return train(*args, sgd=noted, **options)

    monkeypatch.setattr(full_training, "train", counted)
    return done


def _interrupt(task: TrainFull, workspace: StoreWorkspace, after: int) -> None:
    """Run a task until some epochs are done."""

    def limited(*args: Any, sgd: Callable[[int], SGD], **options: Any) -> TrainState:
        def stopping(epoch: int) -> SGD:
            if epoch == after:
                raise InterruptionError
            return sgd(epoch)

        return train(*args, sgd=stopping, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_training, "train", limited)
        with pytest.raises(InterruptionError):
            task.run(workspace)


def _bytes(task: TrainFull, workspace: StoreWorkspace) -> bytes:
    return (workspace.folder(task) / "network.safetensors").read_bytes()


def test_a_network_learns_from_the_full_data_set(data: DataSource, workspace: StoreWorkspace) -> None:
    task = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    selected = Evaluate(source=SelectRandom(data=data, ipc=1, seed=0), protocol=PROTOCOL, repeat=0)
    outcome = run_tasks([task, selected], workspace.store, Workers("inline", 1, 1))
    assert not outcome.failed
    ours, theirs = (workspace.store.record(task_key(each)) for each in (task, selected))
    assert ours["result"].keys() == theirs["result"].keys() == {"accuracy", "environment"}
    assert ours["result"]["environment"] == theirs["result"]["environment"]
    assert ours["result"]["environment"]["precision"] == "float32"
    assert theirs["result"]["accuracy"] < 0.7 < ours["result"]["accuracy"] <= 1


def test_the_accuracy_is_that_of_the_saved_network(data: DataSource, workspace: StoreWorkspace) -> None:
    task = TrainFull(data=data, protocol=HARD, repeat=0)
    result = task.run(workspace)
    network, parameters, buffers = task.trained(workspace)
    assert network.name == HARD.network
    assert int(buffers["1.num_batches_tracked"]) == 4 * 6  # epochs × batches
    splits = data.read()
    assert splits.test is not None
    logits = network(parameters, splits.test.normalised(), buffers)
    assert result["accuracy"] == float((logits.argmax(1) == splits.test.labels).double().mean())


@pytest.mark.parametrize("augmentation", ["none", "crop-noise"])
def test_the_protocol_is_that_of_condensed_sets(
    data: DataSource, workspace: StoreWorkspace, augmentation: str
) -> None:
    protocol = replace(PROTOCOL, augmentation=augmentation, seed=3, epochs=3)
    task = TrainFull(data=data, protocol=protocol, repeat=5)
    task.run(workspace)
    images = data.read().train
    inputs, network = images.normalised(), build_network("mlp", (1, 8, 8), 10)
    parameters = network.draw(seeded_generator(3, "whole network", 5))
    velocity = zero_velocity(parameters)
    for epoch, lr in enumerate((0.03, 0.003, 0.003)):
        change = seeded_generator(3, "whole augmentation", 5, epoch)
        order = torch.randperm(len(images), generator=seeded_generator(3, "whole order", 5, epoch))
        for batch in order.split(64):
            leaves = {name: value.requires_grad_() for name, value in parameters.items()}
            x = inputs[batch]
            if augmentation != "none":
                x = apply_augmentation(draw_augmentation(augmentation, (len(x), 1, 8, 8), change), x)
            loss = F.cross_entropy(network(leaves, x), images.labels[batch])
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient + 5e-4 * value.detach()
                parameters[name] = value.detach() - lr * velocity[name]
    for name, value in task.trained(workspace).parameters.items():
        torch.testing.assert_close(value, parameters[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("protocol", [PROTOCOL, HARD, replace(PROTOCOL, precision="float64")])
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_task_continues_to_the_same_bits(
    data: DataSource,
    workspace: StoreWorkspace,
    tmp_path: Path,
    epochs: list[int],
    monkeypatch: pytest.MonkeyPatch,
    protocol: ResolvedProtocol,
    after: int,
) -> None:
    task, unbroken = (
        TrainFull(data=data, protocol=protocol, repeat=0),
        StoreWorkspace(Store(tmp_path / "other"), "cpu"),
    )
    expected = task.run(unbroken)
    assert epochs == [0, 1, 2, 3]
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, after)
    epochs.clear()
    assert task.run(workspace) == expected
    assert epochs == list(range(after, 4))
    assert _bytes(task, workspace) == _bytes(task, unbroken)
    assert sorted(path.name for path in workspace.folder(task).iterdir()) == [
        ".lock",
        "network.safetensors",
        "settings.json",
    ]


def test_a_checkpoint_is_not_written_after_every_epoch(data: DataSource, workspace: StoreWorkspace) -> None:
    task = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    _interrupt(task, workspace, 3)
    assert sorted(path.name for path in workspace.folder(task).iterdir()) == [".lock", "settings.json"]


@pytest.mark.parametrize("change", ["threads", "engine", "damage"])
def test_a_checkpoint_of_another_environment_is_discarded(
    data: DataSource,
    workspace: StoreWorkspace,
    epochs: list[int],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    task = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, 2)
    checkpoint = workspace.folder(task) / "checkpoint.safetensors"
    if change == "damage":
        checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    else:
        threads = 99 if change == "threads" else 1
        monkeypatch.setattr(
            full_training, "environment", lambda device: environment(device) | {"threads": threads}
        )
        if change == "engine":
            monkeypatch.setattr(Backend, "_asdict", lambda _: {"engine": "fused", "precision": "float32"})
    task.run(workspace)
    assert epochs == [0, 1, 2, 3]


def test_training_that_is_finished_is_not_done_again(
    data: DataSource, workspace: StoreWorkspace, epochs: list[int]
) -> None:
    task = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    first = task.run(workspace)
    written = _bytes(task, workspace)
    epochs.clear()
    assert task.run(workspace) == first
    assert not epochs
    assert _bytes(task, workspace) == written


def test_training_that_was_finished_in_another_environment_is_done_again(
    data: DataSource, workspace: StoreWorkspace, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TrainFull(data=data, protocol=replace(PROTOCOL, epochs=1), repeat=0)
    task.run(workspace)
    monkeypatch.setattr(full_training, "environment", lambda device: environment(device) | {"threads": 99})
    assert task.run(workspace)["environment"]["threads"] == 99
    assert epochs == [0, 0]


@pytest.mark.parametrize(
    "protocol", [PROTOCOL, replace(PROTOCOL, batch_size=5000, augmentation="crop-noise")]
)
def test_forgetting_is_what_the_network_got_wrong_when_it_was_trained(
    data: DataSource, workspace: StoreWorkspace, monkeypatch: pytest.MonkeyPatch, protocol: ResolvedProtocol
) -> None:
    images = data.read().train
    answers: list[tuple[Any, Any]] = []

    def spied(model: Any, *args: Any, **options: Any) -> Any:
        shown: list[Any] = []

        def inputs(epoch: int) -> Any:
            images_at = options["inputs"](epoch)

            def noted(positions: Any) -> Any:
                shown.append(positions)
                return images_at(positions)

            return noted

        def spy(parameters: Any, x: Any) -> Any:
            logits = model(parameters, x)
            answers.append((shown[-1], logits.argmax(1)))
            return logits

        return train(spy, *args, **options | {"inputs": inputs})

    monkeypatch.setattr(full_training, "train", spied)
    task = TrainFull(data=data, protocol=protocol, repeat=0)
    task.run(workspace)

    history: list[list[bool]] = [[] for _ in range(len(images))]
    for positions, classes in answers:
        for position, found in zip(positions.tolist(), classes.tolist(), strict=True):
            history[position].append(found == int(images.labels[position]))
    assert {len(right) for right in history} == {protocol.epochs}
    forgotten = [sum(a and not b for a, b in pairwise(right)) for right in history]
    never = max(count for count, right in zip(forgotten, history, strict=True) if any(right)) + 1
    expected = [count if any(right) else never for count, right in zip(forgotten, history, strict=True)]
    assert task.forgetting(workspace).scores().tolist() == expected
    assert len(set(expected)) > 1


def test_an_interrupted_task_keeps_its_forgetting_counts(
    data: DataSource, workspace: StoreWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, unbroken = (
        TrainFull(data=data, protocol=PROTOCOL, repeat=0),
        StoreWorkspace(Store(tmp_path / "other"), "cpu"),
    )
    task.run(unbroken)
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, 2)
    halfway, _ = read_tensors(workspace.folder(task) / "checkpoint.safetensors")
    assert halfway["counts/learned"].any()
    assert halfway["counts/forgotten"].any()
    task.run(workspace)
    assert torch.equal(task.forgetting(workspace).scores(), task.forgetting(unbroken).scores())
    assert task.forgetting(workspace).scores().any()


def test_a_checkpoint_without_counts_is_discarded(
    data: DataSource, workspace: StoreWorkspace, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, 2)
    _rewrite_without(
        workspace.folder(task) / "checkpoint.safetensors",
        *(f"counts/{name}" for name in ForgettingCounts._fields),
    )
    task.run(workspace)
    assert len(epochs) == 4


def test_a_record_without_counts_names_the_remedy(data: DataSource, workspace: StoreWorkspace) -> None:
    task = TrainFull(data=data, protocol=replace(PROTOCOL, epochs=1), repeat=0)
    task.run(workspace)
    _rewrite_without(
        workspace.folder(task) / "network.safetensors",
        *(f"counts/{name}" for name in ForgettingCounts._fields),
    )
    match = f"{workspace.folder(task)} was recorded by a release that did not count forgetting: remove it to train"
    with pytest.raises(InputError, match=match):
        task.forgetting(workspace)
    assert task.trained(workspace).network.name == "mlp"  # what else it holds is still of use


def _rewrite_without(path: Path, *names: str) -> None:
    """Remove tensors from a file."""
    tensors, metadata = read_tensors(path)
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if name not in names}, metadata)


def test_a_set_without_test_images_is_trained_on_and_not_scored(
    workspace: StoreWorkspace, tmp_path: Path
) -> None:
    images = torch.arange(20 * 64).view(20, 8, 8).remainder(251).byte().numpy()
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(20) % 2)
    source = identified(DataSource(name=str(tmp_path / "set.npz")), needs_test=False)
    task = TrainFull(data=source, protocol=PROTOCOL, repeat=0)
    assert task.estimate(torch.device("cpu")) > 0
    assert task.run(workspace)["accuracy"] is None
    assert task.forgetting(workspace).forgotten.shape == (20,)


def test_the_seed_and_the_number_give_other_networks(data: DataSource, workspace: StoreWorkspace) -> None:
    protocol = replace(PROTOCOL, epochs=1)
    tasks = [
        TrainFull(data=data, protocol=replace(protocol, seed=seed), repeat=repeat)
        for seed, repeat in ((0, 0), (1, 0), (0, 1))
    ]
    for task in tasks:
        task.run(workspace)
    assert len({_bytes(task, workspace) for task in tasks}) == 3


@pytest.mark.parametrize(("method", "select"), [("herding", select_herding), ("k-center", select_k_center)])
def test_images_are_selected_by_features_of_the_trained_network(
    data: DataSource, workspace: StoreWorkspace, method: selections.Selection, select: Callable[..., Any]
) -> None:
    trained = TrainFull(data=data, protocol=replace(HARD, epochs=1), repeat=0)
    features = ComputeFeatures(trained=trained)
    selected: SetTask = SelectByFeatures(method=method, ipc=3, features=features)
    scored = Evaluate(source=selected, protocol=replace(PROTOCOL, epochs=2), repeat=0)
    outcome = run_tasks([scored], workspace.store, Workers("inline", 1, 1))
    assert not outcome.failed
    assert len(outcome.computed) == 4
    network, parameters, buffers = trained.trained(workspace)
    images = data.read().train
    rows = features_of(network, parameters, images, buffers)
    assert torch.equal(features.features(workspace), rows)
    assert not torch.allclose(features_of(network, parameters, images), rows)  # buffers matter
    assert rows.dtype == torch.float32
    expected = select(images, 3, rows)
    found = selected.image_set(workspace)
    assert found.provenance == expected.provenance
    assert found.fingerprint == expected.fingerprint
    result = workspace.store.record(task_key(selected))["result"]
    assert result["fingerprint"] == expected.fingerprint
    assert result["condensing_seconds"] > 0
    assert result["memory"]["peak"] > result["memory"]["added"] >= 0
    assert workspace.store.record(task_key(features))["result"]["features"] == rows.shape[1] == 4 * 4 * 4
    assert (selected.data, selected.ipc, selected.network) == (data, 3, None)


def _tasks(data: DataSource) -> tuple[TrainFull, ComputeFeatures, SelectByFeatures]:
    trained = TrainFull(data=data, protocol=PROTOCOL, repeat=0)
    features = ComputeFeatures(trained=trained)
    return trained, features, SelectByFeatures(method="herding", ipc=2, features=features)


def test_tasks_can_be_pickled_and_keep_their_keys(data: DataSource) -> None:
    for task in _tasks(data):
        copy = pickle.loads(pickle.dumps(task))
        assert copy == task
        assert task_key(copy) == task_key(task)


def test_kinds_name_what_determines_the_time(data: DataSource) -> None:
    assert [task.kind for task in _tasks(data)] == [
        "train mlp on the full data set",
        "features of mlp",
        "select by herding ipc 2",
    ]


def test_keys_differ_where_results_do(data: DataSource) -> None:
    trained, features, selected = _tasks(data)
    smaller = identified(DataSource(name="digits", validation_fraction=0.5))
    changed = [
        replace(trained, protocol=replace(PROTOCOL, epochs=5)),
        replace(trained, protocol=replace(PROTOCOL, seed=1)),
        replace(trained, protocol=replace(PROTOCOL, network="lenet")),
        replace(trained, repeat=1),
        replace(trained, data=smaller),
    ]
    tasks: list[Task] = [trained, features, selected, *changed]
    tasks += [ComputeFeatures(trained=other) for other in changed]
    tasks += [replace(selected, features=ComputeFeatures(trained=other)) for other in changed]
    tasks += [replace(selected, method="k-center"), replace(selected, ipc=3)]
    assert len({task_key(task) for task in tasks}) == len(tasks) == 20


def test_settings_without_effect_do_not_change_the_key(data: DataSource) -> None:
    trained, features, _ = _tasks(data)
    same = replace(trained, protocol=replace(PROTOCOL, repeats=7))
    assert task_key(same) == task_key(trained)
    assert task_key(ComputeFeatures(trained=same)) == task_key(features)


def test_estimates_are_scaled_and_write_nothing(
    data: DataSource, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained, features, selected = _tasks(data)
    splits = data.read()
    assert splits.test is not None

    def timed(compute: Callable[[], object], device: torch.device) -> float:
        compute()
        return 2.0

    for module in (selections, feature_task, training_task):
        monkeypatch.setattr(module, "seconds_of", timed)
    for module in (feature_task, training_task):
        monkeypatch.setattr(module, "_TIMED_IMAGES", 100)
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setitem(selections._ORDERS, "k-center", lambda rows, ipc: shapes.append((*rows.shape, ipc)))
    cpu, number = torch.device("cpu"), len(splits.train)
    expected = 4 * 2.0 * number / (4 * 64) + 2.0 * len(splits.test) / 100
    assert trained.estimate(cpu) == pytest.approx(expected)
    assert len(epochs) == 2  # one to warm up
    assert features.estimate(cpu) == pytest.approx(2.0 * number / 100)
    assert replace(selected, method="k-center").estimate(cpu) == pytest.approx(2.0 * 10)
    assert shapes == [(max(splits.train.class_sizes), 128, 2)]
    assert not list(tmp_path.iterdir())


def test_estimates_are_near_the_truth(data: DataSource) -> None:
    assert all(0 < task.estimate(torch.device("cpu")) < 10 for task in _tasks(data))


def test_a_set_of_a_single_batch_is_estimated(data: DataSource) -> None:
    task = TrainFull(data=data, protocol=replace(PROTOCOL, batch_size=5000), repeat=0)
    assert 0 < task.estimate(torch.device("cpu")) < 10
