"""Experts against SGD written out, how they are kept, and what goes wrong with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from datacondense import ImageSet, InputError, build_network
from datacondense.condensation.experts import ExpertProtocol, Experts
from datacondense.evaluation.full_training import FullTraining
from datacondense.random import seeded_generator
from datacondense.user_code import name_of

PROTOCOL = ExpertProtocol(
    network="convnet-w4-d1",
    epochs=4,
    augmentation="none",
    lr=0.1,
    momentum=0.5,
    weight_decay=0.0,
    batch_size=16,
    seed=3,
    precision="float64",
)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datacondense.condensation.experts.cache_folder", lambda: tmp_path)


class Killed(BaseException):
    """Stands for SIGKILL."""


def files(experts: Experts, number: int) -> dict[str, bytes]:
    """Return the epochs that are kept of an expert."""
    return {path.name: path.read_bytes() for path in (experts.folder / f"{number:04d}").glob("epoch-*")}


def test_experts_are_trained_by_sgd_at_a_constant_rate(tiny: ImageSet) -> None:
    experts, number = Experts(tiny, PROTOCOL), 2
    network = build_network("convnet-w4-d1", tiny.image_shape, 3)
    drawn = network.draw(seeded_generator(3, "whole network", number))
    weights = {name: value.double().requires_grad_() for name, value in drawn.items()}
    optimiser = torch.optim.SGD(list(weights.values()), lr=0.1, momentum=0.5)
    for epoch in range(PROTOCOL.epochs + 1):
        found = experts.parameters(number, epoch)
        assert set(found) == set(weights)
        for name, value in found.items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, weights[name].detach().float(), rtol=1e-6, atol=1e-7)
        order = torch.randperm(36, generator=seeded_generator(3, "whole order", number, epoch))
        for batch in order.split(16):
            optimiser.zero_grad()
            logits = network(weights, tiny.normalised(batch).double())
            F.cross_entropy(logits, tiny.labels[batch]).backward()
            optimiser.step()


def test_an_expert_is_trained_once_and_only_when_it_is_needed(
    tiny: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Experts(tiny, PROTOCOL).parameters(0, 1)
    monkeypatch.setattr(FullTraining, "trained", None)
    again = Experts(tiny, PROTOCOL)
    assert all(torch.equal(value, first[name]) for name, value in again.parameters(0, 1).items())
    assert again.parameters(0, 3, torch.float64)["0.weight"].dtype == torch.float64
    with pytest.raises(TypeError, match="NoneType"):
        again.parameters(1, 0)


def test_killed_training_goes_on_to_the_same_bytes(tiny: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    experts = Experts(tiny, PROTOCOL)
    experts.parameters(0, 0)
    whole = files(experts, 0)
    assert sorted(whole) == [f"epoch-000{epoch}.safetensors" for epoch in range(5)]
    for path in experts.folder.glob("0000/*"):
        path.unlink()
    trained, begun = FullTraining.trained, []

    def killed(self: FullTraining, start: Any, *, after_epoch: Any) -> Any:
        begun.append(start.state.epoch)

        def kill(reached: Any) -> None:
            after_epoch(reached)
            if reached.state.epoch == 2 and len(begun) == 1:
                raise Killed

        return trained(self, start, after_epoch=kill)

    monkeypatch.setattr(FullTraining, "trained", killed)
    monkeypatch.setattr("datacondense.evaluation.full_training._CHECKPOINT_SECONDS", 0)
    with pytest.raises(Killed):
        Experts(tiny, PROTOCOL).parameters(0, 0)
    assert len(files(experts, 0)) == 3
    Experts(tiny, PROTOCOL).parameters(0, 0)
    assert begun == [0, 2]
    assert files(experts, 0) == whole


def test_folders_differ_with_all_that_experts_depend_on(tiny: ImageSet) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 4}, {"lr": 0.2}, {"momentum": 0.0}, {"epochs": 5}]
    changes += [{"batch_size": 8}, {"augmentation": "crop"}, {"network": "mlp"}, {"precision": "float32"}]
    sets = [tiny, replace(tiny, std=(0.3,)), replace(tiny, images=255 - tiny.images)]
    folders = [Experts(tiny, replace(PROTOCOL, **change)).folder for change in changes]
    folders += [Experts(images, PROTOCOL).folder for images in sets]
    assert len(set(folders)) == len(changes) + len(sets) - 1


def test_a_damaged_expert_is_named_with_the_way_out(tiny: ImageSet) -> None:
    experts = Experts(tiny, PROTOCOL)
    experts.parameters(0, 2)
    (damaged,) = experts.folder.glob("0000/epoch-0002*")
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with pytest.raises(
        InputError, match=r"An expert cannot be read: remove the folder .*0000 to train it again"
    ):
        experts.parameters(0, 2)
    damaged.unlink()
    with pytest.raises(InputError, match=r"remove the folder .*0000 .*There is no file"):
        experts.parameters(0, 2)


def test_an_expert_that_diverges_is_refused(tiny: ImageSet) -> None:
    with pytest.raises(
        InputError, match=r"Expert 1 diverged at network_lr 1e\+30: .* --network-lr, such as 1e\+29"
    ):
        Experts(tiny, replace(PROTOCOL, lr=1e30, precision="float32")).parameters(1, 0)


def test_networks_of_one_name_that_compute_other_things_have_folders_of_their_own(tiny: ImageSet) -> None:
    def own(*activation: nn.Module) -> Callable[..., nn.Module]:
        return lambda shape, classes: nn.Sequential(nn.Flatten(), *activation, nn.Linear(64, classes))

    plain, rectified = own(), own(nn.ReLU())
    assert name_of(plain) == name_of(rectified)
    first, other, again = (
        Experts(tiny, replace(PROTOCOL, network=network)).folder for network in (plain, rectified, plain)
    )
    assert first == again
    assert first != other
