"""Steps that a GPU captures: every method over fixed tensors, and what is drawn ahead."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from datacondense import GradientMatchingConfig, ImageSet, RunConfig, condense
from datacondense.condensation import method as methods
from datacondense.condensation import sampler
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.state import State, Step
from datacondense.cuda_graphs import CudaGraphs
from datacondense.networks.torch_state import deterministic
from tests.captures import DEVICES, GPU, refuse, rerun
from tests.condensation.made_settings import NETWORKS, OWN, SETTINGS
from tests.conftest import MakeSet

EXACT = [replace(settings, precision="float64") for settings in SETTINGS.values()]
# One group of classes has another number than the others, and one class fewer images than a batch.
GROUPS = GradientMatchingConfig(
    precision="float64", graph_memory=1, network="convnet-w32-d2", ipc=3, real_batch=4
)
EXACT_OF = dict(zip(SETTINGS, EXACT, strict=True))
each_exact = pytest.mark.parametrize("settings", [*EXACT, GROUPS], ids=[*SETTINGS, "groups"])


def stepped(settings: MethodConfig, train: ImageSet, *, ahead: bool = False) -> tuple[list[float], State]:
    """Return the losses of two iterations, and the state after them."""
    method = settings.build(train, 7)
    state, step, losses = method.init(), Step(0, 0), []
    while step.outer < 2:
        state, loss = method.step(state, step)
        losses.append(loss)
        following = step.after(settings.steps_per_iteration)
        if ahead:
            method.sampler.draw_ahead(
                method.network, settings.real_batch, following, range(len(method.labels))
            )
        step = following
    return losses, state


def capturing(monkeypatch: pytest.MonkeyPatch, capture: Callable[..., Any]) -> list[CudaGraphs]:
    """Let methods capture without a GPU; return what they captured."""
    made: list[CudaGraphs] = []

    def graphs(device: torch.device | str) -> CudaGraphs:
        made.append(CudaGraphs(device, capture=capture))
        return made[-1]

    monkeypatch.setattr(methods, "CudaGraphs", graphs)
    return made


def assert_equal(found: tuple[list[float], State], expected: tuple[list[float], State]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-10)
    tensors = expected[1].to_tensors()
    for name, tensor in found[1].to_tensors().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=1e-9, atol=1e-10)


# Every option where there are statistics to measure as well, and each method where there are none.
WITH_STATISTICS = [*((settings, NETWORKS[1]) for settings in EXACT), (GROUPS, GROUPS.network)]
PLAIN = [(EXACT_OF[name], NETWORKS[0]) for name in OWN]


@pytest.mark.parametrize(
    ("settings", "network"),
    [*WITH_STATISTICS, *PLAIN],
    ids=[*SETTINGS, "groups", *(f"{name} plain" for name in OWN)],
)
def test_captured_steps_equal_those_as_they_are(
    make: MakeSet, monkeypatch: pytest.MonkeyPatch, settings: MethodConfig, network: str
) -> None:
    train = make(num_classes=5)
    settings = replace(settings, network=network) if settings is not GROUPS else settings
    expected = stepped(settings, train)
    made = capturing(monkeypatch, rerun)
    assert_equal(stepped(settings, train), expected)
    assert made[0]._captured
    assert not made[0].eager


def test_where_capture_fails_steps_are_as_they_were(make: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, train = EXACT[0], make()
    expected = stepped(settings, train)
    made = capturing(monkeypatch, refuse)
    assert_equal(stepped(settings, train), expected)
    reason = "operation not permitted when stream is capturing"
    assert set(made[0].eager.values()) == {reason}
    environment = condense(train, settings, RunConfig(iterations=1)).provenance["environment"]
    assert environment["steps"] == f"captured in part: {reason}"


@pytest.mark.parametrize(
    ("settings", "memory"),
    [*((each, 2**28) for each in [*EXACT, GROUPS]), *((EXACT_OF[name], 0) for name in OWN)],
    ids=[*SETTINGS, "groups", *(f"{name} without memory" for name in OWN)],
)
def test_what_is_drawn_ahead_is_what_would_be_drawn(
    make: MakeSet, monkeypatch: pytest.MonkeyPatch, settings: MethodConfig, memory: int
) -> None:
    monkeypatch.setattr(sampler, "_MOST_AHEAD", memory)
    train = make()
    losses, state = stepped(settings, train)
    ahead, same = stepped(settings, train, ahead=True)
    assert ahead == losses
    tensors = state.to_tensors()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in same.to_tensors().items())


def test_nothing_of_ones_own_network_is_captured(make: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(shape: tuple[int, int, int], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

    devices: list[torch.device | str] = []

    def graphs(device: torch.device | str) -> CudaGraphs:
        devices.append(device)
        return CudaGraphs("cpu")

    monkeypatch.setattr(methods, "CudaGraphs", graphs)
    train = make()
    for network in (build, "mlp"):
        GradientMatchingConfig(network=network).build(train, 0)
    assert devices == ["cpu", train.images.device]


@pytest.mark.gpu
@GPU
@each_exact
def test_a_gpu_computes_what_the_processor_computes(make: MakeSet, settings: MethodConfig) -> None:
    train = make(num_classes=5)
    losses, state = stepped(settings, train)
    found = stepped(settings, train.to("cuda"))
    moved = {name: tensor.to("cuda") for name, tensor in state.to_tensors().items()}
    assert_equal(found, (losses, State.from_tensors(moved)))


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("name", SETTINGS)
def test_a_gpu_captures_the_steps_of_every_method(make: MakeSet, name: str) -> None:
    made = SETTINGS[name].build(make(num_classes=5).to("cuda"), 7)
    state = made.init()
    for number in range(2):
        state, _ = made.step(state, Step(number, 0))
    assert made.graphs._captured
    assert not made.graphs.eager


@pytest.mark.parametrize("device", DEVICES)
def test_a_resumed_run_has_the_bytes_of_an_unbroken_one(make: MakeSet, tmp_path: Path, device: str) -> None:
    train, run = make(), RunConfig(seed=3, iterations=2, checkpoint_every=0)
    start = partial(condense, train, SETTINGS["gradient-matching"], device=device)
    with deterministic():
        whole = start(replace(run, iterations=4), directory=tmp_path / "whole")
        start(run, directory=tmp_path / "parts")
        resumed = start(replace(run, iterations=4), directory=tmp_path / "parts", resume=True)
    assert torch.equal(resumed.images, whole.images)
