"""Full training: its protocol, what it saves, and that it continues to the same bits."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from datacondense.augment.cutmix import mixed
from datacondense.augment.per_image import apply_augmentation, draw_augmentation
from datacondense.cuda_graphs import CudaGraphs
from datacondense.data.data_source import DataSource, identified
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation import full_training
from datacondense.evaluation.full_training import FullState, FullTraining
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.networks.backend import Backend
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator
from datacondense.selection.full_tasks import TrainFull
from datacondense.tasks.store import Store, Workspace
from datacondense.tensor_files import read_tensors, write_tensors
from datacondense.training import SGD, TrainState, train, zero_velocity
from tests.captures import rerun

PROTOCOL = ResolvedProtocol(
    network="mlp", epochs=4, augmentation="none", lr=0.03, batch_size=64, precision="float32", engine="eager"
)
SHORT = replace(PROTOCOL, epochs=1)
# Batch normalisation has buffers, and each batch is changed at random.
HARD = replace(PROTOCOL, network="convnet-w4-d1-bn", augmentation="crop-rotate", batch_size=256)


class InterruptionError(Exception):
    """Stands for a kill."""


@cache
def digits() -> DataSource:
    return identified(DataSource(name="digits"))


def training(protocol: ResolvedProtocol = PROTOCOL, repeat: int = 0) -> TrainFull:
    return TrainFull(data=digits(), protocol=protocol, repeat=repeat)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path / "cells"))


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are trained, in order."""
    done: list[int] = []
    monkeypatch.setattr(full_training, "train", _watched(done.append))
    return done


def _watched(watch: Callable[[int], object]) -> Callable[..., TrainState]:
    """Return a `train` that calls a function before each epoch."""

    def watched(*args: Any, sgd: Callable[[int], SGD], **options: Any) -> TrainState:
        def noted(epoch: int) -> SGD:
            watch(epoch)
            return sgd(epoch)

        return train(*args, sgd=noted, **options)

    return watched


def _interrupt(task: TrainFull, workspace: Workspace, after: int) -> None:
    """Run a task until some epochs are done."""

    def stop(epoch: int) -> None:
        if epoch == after:
            raise InterruptionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_training, "train", _watched(stop))
        with pytest.raises(InterruptionError):
            task.run(workspace)


def _bytes(task: TrainFull, workspace: Workspace) -> bytes:
    return (workspace.folder(task) / "network.safetensors").read_bytes()


def _names(task: TrainFull, workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.folder(task).iterdir())


def _drop_counts(path: Path) -> None:
    """Remove what an older release did not write."""
    tensors, metadata = read_tensors(path)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("counts/")}
    write_tensors(path, kept, metadata)


def test_the_accuracy_is_that_of_the_saved_network(workspace: Workspace) -> None:
    task = training(HARD)
    result = task.run(workspace)
    network, parameters, buffers = task.trained(workspace)
    assert network.name == HARD.network
    assert int(buffers["1.num_batches_tracked"]) == 4 * 6  # epochs × batches
    splits = digits().read()
    assert splits.test is not None
    logits = network(parameters, splits.test.normalised(), buffers)
    assert result["accuracy"] == float((logits.argmax(1) == splits.test.labels).double().mean())
    assert result["environment"]["precision"] == "float32"


@pytest.mark.parametrize(("augmentation", "cutmix"), [("none", 0.0), ("crop-noise", 0.0), ("none", 0.5)])
def test_the_protocol_is_that_of_condensed_sets(
    workspace: Workspace, augmentation: str, cutmix: float
) -> None:
    protocol = replace(PROTOCOL, augmentation=augmentation, cutmix=cutmix, seed=3, epochs=3)
    task = training(protocol, repeat=5)
    assert 0.7 < task.run(workspace)["accuracy"] <= 1
    images = digits().read().train
    inputs, network = images.normalised(), build_network("mlp", (1, 8, 8), 10)
    parameters = network.draw(seeded_generator(3, "whole network", 5))
    velocity = zero_velocity(parameters)
    for epoch, lr in enumerate((0.03, 0.003, 0.003)):
        change = seeded_generator(3, "whole augmentation", 5, epoch)
        order = torch.randperm(len(images), generator=seeded_generator(3, "whole order", 5, epoch))
        for batch in order.split(64):
            leaves = {name: value.requires_grad_() for name, value in parameters.items()}
            x, y = inputs[batch], images.labels[batch]
            if augmentation != "none":
                x = apply_augmentation(draw_augmentation(augmentation, (len(x), 1, 8, 8), change), x)
            if cutmix:
                x, y = mixed(x, y, 10, change, cutmix)
            loss = F.cross_entropy(network(leaves, x), y)
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient + 5e-4 * value.detach()
                parameters[name] = value.detach() - lr * velocity[name]
    for name, value in task.trained(workspace).parameters.items():
        torch.testing.assert_close(value, parameters[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("protocol", [PROTOCOL, HARD, replace(PROTOCOL, precision="float64")])
@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_training_continues_to_the_same_bits(
    workspace: Workspace,
    tmp_path: Path,
    epochs: list[int],
    monkeypatch: pytest.MonkeyPatch,
    protocol: ResolvedProtocol,
    after: int,
) -> None:
    task, unbroken = training(protocol), Workspace(Store(tmp_path / "other"))
    expected = task.run(unbroken)
    assert epochs == [0, 1, 2, 3]
    assert task.forgetting(unbroken).scores().any()
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, after)
    epochs.clear()
    assert task.run(workspace) == expected
    assert epochs == list(range(after, 4))
    assert _bytes(task, workspace) == _bytes(task, unbroken)
    assert _names(task, workspace) == [".lock", "network.safetensors", "settings.json"]


def test_a_checkpoint_is_not_written_after_every_epoch(workspace: Workspace) -> None:
    task = training()
    _interrupt(task, workspace, 3)
    assert _names(task, workspace) == [".lock", "settings.json"]


@pytest.mark.parametrize("change", ["threads", "engine", "damage", "no counts"])
def test_a_checkpoint_of_another_environment_is_discarded(
    workspace: Workspace, epochs: list[int], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    task = training()
    monkeypatch.setattr(full_training, "_CHECKPOINT_SECONDS", 0)
    _interrupt(task, workspace, 2)
    checkpoint = workspace.folder(task) / "checkpoint.safetensors"
    if change == "damage":
        checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    elif change == "no counts":
        _drop_counts(checkpoint)
    elif change == "engine":
        monkeypatch.setattr(Backend, "_asdict", lambda _: {"engine": "fused", "precision": "float32"})
    else:
        monkeypatch.setattr(
            full_training, "environment", lambda device: environment(device) | {"threads": 99}
        )
    task.run(workspace)
    assert epochs == [0, 1, 2, 3]


def test_finished_training_is_done_again_only_in_another_environment(
    workspace: Workspace, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = training(SHORT)
    first = task.run(workspace)
    written = _bytes(task, workspace)
    assert task.run(workspace) == first
    assert _bytes(task, workspace) == written
    assert epochs == [0]
    monkeypatch.setattr(full_training, "environment", lambda device: environment(device) | {"threads": 99})
    assert task.run(workspace)["environment"]["threads"] == 99
    assert epochs == [0, 0]


@pytest.mark.parametrize(
    "protocol", [PROTOCOL, replace(PROTOCOL, batch_size=5000, augmentation="crop-noise")]
)
def test_forgetting_is_what_the_network_got_wrong_when_it_was_trained(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, protocol: ResolvedProtocol
) -> None:
    images = digits().read().train
    history: list[list[bool]] = [[] for _ in range(len(images))]

    def spied(model: Any, *args: Any, **options: Any) -> TrainState:
        shown: Any = []

        def change(epoch: int) -> Any:
            made = options["change"](epoch)
            return lambda positions, labels: (shown.append(positions), made(positions, labels))[1]

        def spy(parameters: Any, x: Any) -> Any:
            logits = model(parameters, x)
            for position, found in zip(shown[-1].tolist(), logits.argmax(1).tolist(), strict=True):
                history[position].append(found == int(images.labels[position]))
            return logits

        return train(spy, *args, **options | {"change": change})

    monkeypatch.setattr(full_training, "train", spied)
    task = training(protocol)
    task.run(workspace)

    assert {len(right) for right in history} == {protocol.epochs}
    forgotten = [sum(a and not b for a, b in pairwise(right)) for right in history]
    never = max(count for count, right in zip(forgotten, history, strict=True) if any(right)) + 1
    expected = [count if any(right) else never for count, right in zip(forgotten, history, strict=True)]
    assert task.forgetting(workspace).scores().tolist() == expected
    assert len(set(expected)) > 1


def test_a_record_without_counts_names_the_remedy(workspace: Workspace) -> None:
    task = training(SHORT)
    task.run(workspace)
    _drop_counts(workspace.folder(task) / "network.safetensors")
    match = f"{workspace.folder(task)} was recorded by a release that did not count forgetting: remove it to train"
    with pytest.raises(InputError, match=match):
        task.forgetting(workspace)
    assert task.trained(workspace).network.name == "mlp"  # what else it holds is still of use


def test_a_set_without_test_images_is_trained_on_and_not_scored(workspace: Workspace, tmp_path: Path) -> None:
    images = torch.arange(20 * 64).view(20, 8, 8).remainder(251).byte().numpy()
    np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(20) % 2)
    source = identified(DataSource(name=str(tmp_path / "set.npz")), needs_test=False)
    task = TrainFull(data=source, protocol=PROTOCOL, repeat=0)
    assert task.run(workspace)["accuracy"] is None
    assert task.forgetting(workspace).forgotten.shape == (20,)


def test_captured_training_counts_and_normalises_as_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    images = digits().read().train
    protocol = replace(HARD, epochs=2, precision="float64")
    expected = FullTraining(images, protocol, 0)
    states = [expected.trained(expected.start())]
    captures: list[Any] = []

    def counted(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        captures.append(run)
        return rerun(run)

    monkeypatch.setattr(full_training, "CudaGraphs", partial(CudaGraphs, capture=counted))
    captured = FullTraining(images, protocol, 0)
    reported: list[int] = []

    def note(reached: FullState) -> None:
        reported.append(int(reached.buffers["1.num_batches_tracked"]))

    states.append(captured.trained(captured.start(), after_epoch=note))
    assert len(captures) == 2  # for whole batches and for the last one
    assert not captured._graphs.eager
    assert reported == [6, 12]
    one, other = states
    for found, wanted in ((other.state.parameters, one.state.parameters), (other.buffers, one.buffers)):
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10)
    for found_count, count in zip(other.counts, one.counts, strict=True):
        assert torch.equal(found_count, count)


def test_a_network_of_ones_own_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(image_shape), num_classes))

    # Where nothing may be captured the device is given by its name.
    monkeypatch.setattr(full_training, "CudaGraphs", type)
    images = digits().read().train
    made = [FullTraining(images, replace(PROTOCOL, network=each), 0) for each in ("mlp", linear)]
    assert [vars(training)["_graphs"] for training in made] == [torch.device, str]
