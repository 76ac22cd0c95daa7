"""Users' own networks with attention and lazy layers, and what a caller may have switched in torch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.networks.builder import build_network
from datacondense.networks.torch_state import usual_torch
from tests.conftest import make_set

SHAPE = (1, 8, 8)
Shape = tuple[int, int, int]


class Attention(nn.Module):
    """Rows of an image attend to each other."""

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.input = nn.Linear(8, 24)
        self.last = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        queries, keys, values = self.input(images.flatten(0, 1)).chunk(3, -1)
        return self.last(F.scaled_dot_product_attention(queries, keys, values).flatten(1))  # type: ignore[no-any-return]


class MultiHead(nn.Module):
    """The same by torch's own layer."""

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(0, 1)
        return self.last(self.attention(rows, rows, rows, need_weights=False)[0].flatten(1))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A layer of a transformer."""

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.last = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.layer(images.flatten(0, 1)).flatten(1))  # type: ignore[no-any-return]


def lazy(image_shape: Shape, num_classes: int) -> nn.Module:
    """Return a network whose layers find their sizes themselves."""
    return nn.Sequential(
        nn.LazyConv2d(4, 3, padding=1),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )


def sized(image_shape: Shape, num_classes: int) -> nn.Module:
    """Return the same network with sizes."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, num_classes)
    )


def linear(image_shape: Shape, num_classes: int) -> nn.Module:
    """Return the smallest network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


@pytest.mark.parametrize("network", [Attention, MultiHead, Encoder, lazy])
def test_condensed_and_scored(network: Callable[..., nn.Module]) -> None:
    run = RunConfig(iterations=1)
    method = GradientMatchingConfig(ipc=1, network=network, real_batch=4)
    condensed = condense(make_set(), method, run)
    assert bool(condensed.images.isfinite().all())
    config = EvaluationConfig(network=network, repeats=1, epochs=2)
    assert 0 <= evaluate(condensed, make_set(seed=5), config).mean <= 1


def test_the_second_derivative_of_attention_is_right() -> None:
    network = build_network(Attention, SHAPE, 2)
    drawn = network.draw(torch.Generator().manual_seed(1))
    parameters = {name: value.double().requires_grad_() for name, value in drawn.items()}
    images = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def slope(images: Tensor) -> Tensor:
        loss = F.cross_entropy(network(parameters, images), torch.tensor([0, 1]))
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum()

    assert torch.autograd.gradcheck(slope, images.requires_grad_(), fast_mode=True)


def test_lazy_layers_have_sizes_and_the_statistics_they_begin_with() -> None:
    network, expected = (build_network(make, SHAPE, 3) for make in (lazy, sized))
    parameters = network.draw(torch.Generator().manual_seed(1))
    again = network.draw(torch.Generator().manual_seed(1))
    assert all(torch.equal(parameters[name], again[name]) for name in parameters)
    shapes = {name: value.shape for name, value in expected.draw(torch.Generator()).items()}
    assert {name: value.shape for name, value in parameters.items()} == shapes
    buffers, usual = network.buffers(), expected.buffers()
    assert buffers.keys() == usual.keys()
    assert all(torch.equal(buffers[name], usual[name]) for name in usual)


class Unused(nn.Module):
    """Has a lazy layer that it does not call."""

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.last, self.other = nn.Linear(64, num_classes), nn.LazyLinear(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(images.flatten(1))  # type: ignore[no-any-return]


def test_lazy_layers_that_stay_without_a_size_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"Unused has a lazy layer that its forward does not call, so that its size"
    ):
        build_network(Unused, SHAPE, 3)

    def wrong(image_shape: Shape, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.LazyConv3d(4, 3), nn.Flatten(), nn.LazyLinear(num_classes))

    with pytest.raises(
        InputError, match=r"failed on images of shape \(2, 1, 8, 8\) .*: let its forward take a batch"
    ):
        build_network(wrong, SHAPE, 3)


@contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


STATES: list[Callable[[], AbstractContextManager[object]]] = [
    torch.no_grad,
    torch.inference_mode,
    float64_by_default,
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("network", ["convnet-w4-d1-bn", "mlp", linear, lazy])
def test_networks_are_the_same_whatever_the_caller_switched(
    state: Callable[[], AbstractContextManager[object]], network: str | Callable[..., nn.Module]
) -> None:
    expected = build_network(network, SHAPE, 3).draw(torch.Generator().manual_seed(1))
    with state():
        before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        built = build_network(network, SHAPE, 3)
        found = usual_torch()(built.draw)(torch.Generator().manual_seed(1))
        assert before == (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
        )
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert not any(value.is_inference() for value in (*found.values(), *built.buffers().values()))


@pytest.mark.parametrize("state", STATES)
def test_runs_and_scores_are_the_same_whatever_the_caller_switched(
    state: Callable[[], AbstractContextManager[object]],
) -> None:
    def both() -> tuple[Tensor, tuple[float, ...]]:
        method = GradientMatchingConfig(ipc=2, network="convnet-w4-d1", real_batch=4, matching_steps=2)
        condensed = condense(make_set(), method, RunConfig(iterations=2))
        score = evaluate(condensed, make_set(seed=5), EvaluationConfig(network="mlp", repeats=1, epochs=2))
        return condensed.images, score.accuracies

    images, accuracies = both()
    with state():
        found = usual_torch()(both)()
    assert torch.equal(found[0], images)
    assert found[1] == accuracies


def test_what_was_switched_comes_back_after_an_error() -> None:
    with float64_by_default():
        with pytest.raises(InputError):
            build_network("nonsense", SHAPE, 3)
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("name", ["convnet-w10001-d1", "convnet-w999999-d1", "convnet-w4-d101-nopool"])
def test_sizes_that_cannot_be_meant_are_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"is larger than can be meant \(w10000, d100\): choose such as convnet-w128-d3"
    ):
        build_network(name, SHAPE, 3)


def test_networks_beyond_any_memory_are_refused_before_they_take_it() -> None:
    with pytest.raises(
        InputError, match=r"mlp for 10 classes of 3x10000x10000 pixels has 3.8e\+10 parameters, but can"
    ):
        build_network("mlp", (3, 10_000, 10_000), 10)
    with pytest.raises(
        InputError, match=r"convnet-w10000-d4 .* has 2.7e\+09 parameters, but can have 1e\+09 at most:"
    ):
        build_network("convnet-w10000-d4", (3, 32, 32), 10)
