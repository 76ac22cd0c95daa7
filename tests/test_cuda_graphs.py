"""The schedule of buffers of captured functions, on any machine; and the same on a CUDA GPU."""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.cuda_graphs import CudaGraphs, fitting, sent, side_by_side
from tests.captures import DEVICES, GPU, refuse, rerun


def graphs_on(device: str) -> CudaGraphs:
    return CudaGraphs(device, capture=rerun if device == "cpu" else None)


def gradient(tensors: dict[str, Tensor], factor: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A pure function that differentiates twice inside."""
    leaf = tensors["x"].detach().requires_grad_()
    (first,) = torch.autograd.grad((leaf.tanh() * factor[0]).square().sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    return {"first": first, "second": second}


def arguments(seed: int, size: int, device: str) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    x, factor = (torch.randn(size, generator=generator, dtype=torch.float64).to(device) for _ in range(2))
    return {"x": x}, (factor,)


@pytest.mark.parametrize("device", DEVICES)
def test_replays_equal_calls_for_every_value_and_shape(device: str) -> None:
    graphs = graphs_on(device)
    cases = [arguments(seed, size, device) for seed, size in ((0, 5), (1, 5), (2, 7), (3, 5), (4, 7))]
    found = [graphs.replay("gradient", gradient, *case) for case in cases]
    # Compared at the end: no later call changed an earlier result.
    for case, result in zip(cases, found, strict=True):
        for name, expected in gradient(*case).items():
            torch.testing.assert_close(result[name], expected, rtol=1e-12, atol=1e-12)
            assert not result[name].requires_grad
    assert graphs.captures
    assert not graphs.eager


@pytest.mark.parametrize("device", DEVICES)
def test_keys_and_dtypes_keep_functions_apart(device: str) -> None:
    graphs = graphs_on(device)
    x = torch.arange(4.0, device=device)
    for _ in range(2):
        assert graphs.replay(("add", 1), lambda x: x + 1, x).tolist() == [1, 2, 3, 4]
        assert graphs.replay(("add", 2), lambda x: x + 2, x).tolist() == [2, 3, 4, 5]
        assert graphs.replay(("add", 1), lambda x: x + 1, x.long()).dtype == torch.int64


def test_a_function_is_captured_once_for_a_key_and_shapes() -> None:
    captures: list[Any] = []

    def counted(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        captures.append(run)
        return rerun(run)

    graphs = CudaGraphs("cpu", capture=counted)
    for size in (3, 3, 4, 3, 4):
        graphs.replay("double", lambda x: 2 * x, torch.ones(size))
    assert len(captures) == 2
    graphs.replay("triple", lambda x: 3 * x, torch.ones(3))
    graphs.replay("double", lambda x: 2 * x["x"], {"x": torch.ones(3)})
    assert len(captures) == 4


@pytest.mark.parametrize("device", DEVICES)
def test_arguments_and_their_gradients_are_left_alone(device: str) -> None:
    graphs = graphs_on(device)
    x = torch.ones(3, device=device, requires_grad=True)
    for _ in range(2):
        result = graphs.replay("double", lambda x: 2 * x, x)
        result.add_(1)  # new tensors: changing one changes no other call
    assert graphs.replay("double", lambda x: 2 * x, x).tolist() == [2, 2, 2]
    assert x.tolist() == [1, 1, 1]
    assert x.grad is None


@pytest.mark.parametrize("device", DEVICES)
def test_updates_in_place_begin_with_the_state_before_capture(device: str) -> None:
    graphs = graphs_on(device)

    def update(state: dict[str, Tensor], step: Tensor) -> Tensor:
        state["x"].add_(step)
        return state["x"] * 10

    state, step = graphs.static(
        "state", ({"x": torch.ones(2, device=device)}, torch.tensor(3.0, device=device))
    )
    captured = graphs.captured("update", update, state, step)
    assert state["x"].tolist() == [1, 1]
    assert captured.replay().tolist() == [40, 40]
    assert captured.replay().tolist() == [70, 70]
    step.fill_(1)
    assert captured.replay().tolist() == [80, 80]
    assert graphs.captured("update", update, state, step) is captured
    again, _ = graphs.static(
        "state", ({"x": torch.zeros(2, device=device)}, torch.tensor(2.0, device=device))
    )
    assert again["x"] is state["x"]
    assert graphs.static("other state", (state, step))[1] is not step
    assert captured.replay().tolist() == [20, 20]
    assert captured.inputs[0]["x"].tolist() == [2, 2]
    other = {"x": torch.full((2,), 5.0, device=device)}
    graphs.captured("update", update, other, step).replay()  # other tensors of the same shapes
    assert (other["x"].tolist(), state["x"].tolist()) == ([7, 7], [2, 2])


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_function_refers_to_stays_alive(device: str) -> None:
    graphs = graphs_on(device)

    def with_constant() -> None:
        constant = torch.full((1000,), 3.0, device=device)
        graphs.replay("scale", lambda x: x * constant, torch.ones(1000, device=device))

    with_constant()
    gc.collect()
    _ = [torch.zeros(1000, device=device) for _ in range(10)]
    found = graphs.replay("scale", lambda x: x * 0, torch.full((1000,), 2.0, device=device))
    assert found.unique().tolist() == [6]  # that of the first call


def test_devices_that_do_not_capture_call_functions_as_they_are() -> None:
    graphs = CudaGraphs("cpu")
    seen: list[Tensor] = []
    x = torch.ones(2)

    def see(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    assert graphs.replay("see", see, x) is x
    assert seen[0] is x
    assert graphs.static("x", x) is x
    captured = graphs.captured("add", lambda x: x.add_(1), x)
    assert x.tolist() == [1, 1]
    captured.replay()
    assert x.tolist() == [2, 2]
    assert not graphs.captures
    assert not graphs.eager


def test_where_capture_fails_the_function_is_called() -> None:
    attempts: list[Any] = []

    def failing(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        attempts.append(run)
        return refuse(run)

    graphs = CudaGraphs("cpu", capture=failing)
    state = torch.ones(2)
    captured = graphs.captured("update", lambda x: x.add_(1), state)
    assert state.tolist() == [1, 1]
    assert captured.replay() is state
    assert state.tolist() == [2, 2]
    for size in (2, 2, 3):
        assert graphs.replay("double", lambda x: 2 * x, torch.ones(size)).tolist() == [2] * size
    x = torch.ones(2)
    assert graphs.replay("double", lambda x: x, x) is x  # no copies
    graphs.captured("update", lambda x: x.add_(1), x).replay()
    assert x.tolist() == [2, 2]
    assert len(attempts) == 2  # a key that failed is not tried again
    assert graphs.eager == dict.fromkeys(
        ("update", "double"), "operation not permitted when stream is capturing"
    )
    assert graphs.captures


@pytest.mark.parametrize("device", DEVICES)
def test_errors_of_a_function_reach_the_caller(device: str) -> None:
    graphs = graphs_on(device)
    with pytest.raises(RuntimeError, match="size"):
        graphs.replay("wrong", lambda x: x + torch.ones(3, device=device), torch.ones(2, device=device))

    def broken(x: Tensor) -> Tensor:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        graphs.replay("broken", broken, torch.ones(2, device=device))
    assert list(graphs.eager) == ["wrong"]
    # What failed by an error of its own is captured when it works.
    repaired = graphs.replay("broken", lambda x: x + 1, torch.ones(2, device=device))
    assert repaired.tolist() == [2, 2]
    static = graphs.static("broken", (torch.ones(2, device=device),))
    assert graphs.captured("broken", broken, *static)._graph is not None
    assert graphs.replay("double", lambda x: 2 * x, torch.ones(2, device=device)).tolist() == [2, 2]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("number", [1, 3, 40])  # more than there are streams
def test_branches_of_a_graph_compute_what_they_compute_one_by_one(device: str, number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(64, 64, generator=generator, dtype=torch.float64).to(device) for _ in range(number)
    ]
    x = torch.randn(32, 64, generator=generator, dtype=torch.float64).to(device)

    def update(weight: Tensor) -> Tensor:
        leaf = weight.detach().requires_grad_()
        loss = F.cross_entropy((x @ leaf).tanh() @ leaf, torch.arange(32, device=device))
        weight.sub_(torch.autograd.grad(loss, leaf)[0], alpha=0.1)
        return loss.detach()

    alone = [weight.clone() for weight in weights]
    expected = [update(weight) for _ in range(4) for weight in alone][-number:]
    graphs = graphs_on(device)
    captured = graphs.captured(
        "all", lambda *all_: side_by_side([partial(update, one) for one in all_], device), *weights
    )
    for _ in range(4):
        found = captured.replay()
    assert not graphs.eager
    for one, other in zip([*weights, *found], [*alone, *expected], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("taken", "free", "fits"), [(10, 100, 6), (10, 4, 1), (500, 100, 1), (0, 100, 32), (1, 10**6, 32)]
)
def test_as_many_fit_as_half_of_the_free_memory_holds(
    monkeypatch: pytest.MonkeyPatch, taken: int, free: int, fits: int
) -> None:
    allocated = [7]

    def stats(_: torch.device) -> dict[str, int]:
        total = "allocated_bytes.all.allocated"
        return {total: allocated[0], "reserved_bytes.all.current": 50, "allocated_bytes.all.current": 30}

    def run() -> None:
        allocated[0] += taken

    monkeypatch.setattr(torch.cuda, "memory_stats", stats)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**9))
    assert fitting(run, torch.device("cuda")) == fits
    assert fitting(run, torch.device("cpu")) == 32


@pytest.mark.gpu
@GPU
def test_fewer_large_functions_fit_on_a_gpu() -> None:
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    third = torch.cuda.mem_get_info(device)[0] // 3
    large, small = (partial(torch.empty, size, dtype=torch.uint8, device=device) for size in (third, 1000))
    assert (fitting(large, device), fitting(small, device)) == (1, 32)


@pytest.mark.parametrize("device", DEVICES)
def test_sent_tensors_arrive_unchanged(device: str) -> None:
    tensors = [torch.arange(1000) * factor for factor in range(20)]
    arrived = [sent(tensor, device) for tensor in tensors]
    assert all(tensor.device.type == device for tensor in arrived)
    assert all(torch.equal(found.cpu(), tensor) for found, tensor in zip(arrived, tensors, strict=True))


@pytest.mark.gpu
@GPU
def test_a_function_that_waits_for_the_device_is_called_and_leaves_torch_in_order() -> None:
    graphs = CudaGraphs("cuda")
    x = torch.full((4,), 2.0, device="cuda")
    stream = torch.cuda.current_stream()
    for _ in range(2):
        assert graphs.replay("item", lambda x: x * float(x.sum()), x).tolist() == [16] * 4
    assert list(graphs.eager) == ["item"]
    assert torch.cuda.current_stream() == stream
    assert torch.cuda.get_sync_debug_mode() == 0
    assert torch.rand(2, device="cuda").shape == (2,)  # the device's own generator still works
    for size in (2, 3):
        assert (
            graphs.replay("double", lambda x: 2 * x, torch.ones(size, device="cuda")).tolist() == [2] * size
        )
    assert list(graphs.eager) == ["item"]


@pytest.mark.gpu
@GPU
def test_graphs_outlive_others_that_were_captured_later() -> None:
    first = CudaGraphs("cuda")
    x = torch.randn(512, 512, device="cuda")
    square = lambda x: x @ x  # noqa: E731
    expected = first.replay("square", square, x)
    for _ in range(3):
        other = CudaGraphs("cuda")
        other.replay("square", square, x + 1)
        del other
        gc.collect()
        torch.cuda.empty_cache()
        _ = torch.zeros(2**24, device="cuda")
        assert torch.equal(first.replay("square", square, x), expected)
