"""A network without its last linear layer, against features of the full network."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.features import embedding_network, penultimate_features
from datacondense.networks.network import Network, Parameters, moved
from tests.cases import NETWORKS
from tests.conftest import has_kernels

SOURCE = """
import torch
from torch import nn

class Reversed(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(5, num_classes)
        self.head2 = nn.Linear(64, 5)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, images):
        return self.head(input=self.norm(self.head2(images.flatten(1))))

class Nested(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh())
        self.top = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, num_classes, bias=False))

    def forward(self, images):
        return self.top(self.body(images))

def all_convolutions(image_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, num_classes, 8), nn.Flatten())
"""
SHAPE = (1, 8, 8)
Build = Callable[[str], Network]


def numbers(network: Network, dtype: torch.dtype = torch.float32) -> Parameters:
    """Draw parameters none of which are at a special value."""
    generator = torch.Generator().manual_seed(0)
    drawn = network.draw(generator)
    return {
        name: (value + 0.1 * torch.randn(value.shape, generator=generator)).to(dtype)
        for name, value in drawn.items()
    }


def without_last(parameters: Parameters) -> Parameters:
    """Leave the last layer's weight and bias out."""
    return dict(list(parameters.items())[:-2])


def some_images(shape: tuple[int, int, int] = SHAPE, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build networks of a module in the current folder."""
    (tmp_path / "embedded_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "embedded_networks", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda attribute: build_network(f"embedded_networks:{attribute}", SHAPE, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_embedding_network_returns_the_penultimate_features(name: str) -> None:
    shape = (1, 28, 28) if name == "alexcifarnet" else SHAPE
    network, images = build_network(name, shape, 3), some_images(shape)
    embedding = embedding_network(network)
    drawn, rest = (one.draw(torch.Generator().manual_seed(4)) for one in (network, embedding))
    assert list(rest) == list(drawn)[:-2]
    assert all(torch.equal(rest[key], drawn[key]) for key in rest)
    assert embedding.num_parameters == sum(value.numel() for value in rest.values())
    buffers = network.measure_statistics(drawn, images)
    own = embedding.measure_statistics(rest, images)
    assert own.keys() == buffers.keys()
    assert all(torch.equal(own[key], value) for key, value in buffers.items())
    found = embedding(rest, images, own).flatten(1)
    assert torch.equal(found, penultimate_features(network, drawn, images, buffers))


@pytest.mark.parametrize("name", ["mlp", "convnet-w4-d2", "convnet-w4-d2-bn", "lenet"])
def test_gradients_are_those_of_the_full_network(name: str) -> None:
    network, images = build_network(name, SHAPE, 3), some_images(dtype=torch.float64)
    parameters, labels = numbers(network, torch.float64), torch.arange(3)
    *_, weight, bias = parameters.values()
    buffers = network.measure_statistics(parameters, images)

    def gradients(logits: Callable[[Parameters, Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaves = {key: value.clone().requires_grad_() for key, value in without_last(parameters).items()}
        leaf = images.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(logits(leaves, leaf), labels), [leaf, *leaves.values()])

    embedding = embedding_network(network)
    found = gradients(lambda own, x: F.linear(embedding(own, x, buffers).flatten(1), weight, bias))
    expected = gradients(lambda own, x: network({**parameters, **own}, x, buffers))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert float(found[0].abs().max()) > 0


def test_the_gradient_in_the_pixels_equals_finite_differences() -> None:
    network, images = build_network("convnet-w4-d2", SHAPE, 3), some_images(dtype=torch.float64)
    embedding, parameters = embedding_network(network), without_last(numbers(network, torch.float64))

    def loss(x: Tensor) -> Tensor:
        return embedding(parameters, x).mean(0).square().sum()

    (gradient,) = torch.autograd.grad(loss(leaf := images.clone().requires_grad_()), leaf)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).double()
    difference = float(loss(images + 1e-6 * direction) - loss(images - 1e-6 * direction)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)


def test_the_network_does_not_change() -> None:
    network, images = build_network("convnet-w4-d1-bn", SHAPE, 3), some_images()
    parameters = numbers(network)
    before = network(parameters, images)
    embedding_network(network)
    assert torch.equal(network(parameters, images), before)
    assert list(network.draw(torch.Generator().manual_seed(0))) == list(parameters)
    assert not any(layer._forward_pre_hooks for layer in network.structure.modules())


@pytest.mark.parametrize(
    "name", ["convnet-w32-d2", "convnet-w32-d2-bn", "convnet-w32-d2-max", "convnet-w16-d2", "mlp", "resnet18"]
)
def test_the_engine_is_that_of_the_full_network(name: str) -> None:
    network = build_network(name, SHAPE, 3)
    embedding = embedding_network(network)
    for precision in ("auto", "float32", "float64"):
        full, found = (
            choose_backend(one, "cpu", precision=precision, engine="auto") for one in (network, embedding)
        )
        assert found == full


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99999), ("bfloat16", 0.98)])
def test_fused_layers_return_the_features(precision: str, least: float) -> None:
    network, images = build_network("convnet-w32-d2", SHAPE, 3), some_images()
    embedding, parameters = embedding_network(network), numbers(network)
    backend = choose_backend(embedding, "cpu", precision=precision, engine="fused")
    fast = first_order_model(embedding, backend)
    leaf = images.clone().requires_grad_()
    found = fast(without_last(parameters), leaf).flatten(1)
    expected = penultimate_features(network, parameters, images)
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > least
    (gradient,) = torch.autograd.grad(found.square().sum(), leaf)
    slow = embedding(without_last(parameters), twin := images.clone().requires_grad_()).square().sum()
    (wanted,) = torch.autograd.grad(slow, twin)
    assert F.cosine_similarity(gradient.flatten(), wanted.flatten(), dim=0) > least - 0.03


def test_the_last_layer_is_the_one_called_last(build: Build) -> None:
    network, images = build("Reversed"), some_images()
    embedding = embedding_network(network)
    drawn, rest = (one.draw(torch.Generator().manual_seed(4)) for one in (network, embedding))
    # Only the layer itself is left out, not one whose name begins like its name.
    assert set(rest) == {"head2.weight", "head2.bias", "norm.weight", "norm.bias"}
    assert all(torch.equal(rest[key], drawn[key]) for key in rest)
    assert embedding.buffers().keys() == network.buffers().keys()
    assert embedding.has_batch_norm
    buffers = embedding.measure_statistics(rest, images)
    expected = penultimate_features(network, drawn, images, buffers)
    assert torch.equal(embedding(rest, images, buffers), expected)
    assert expected.shape == (3, 5)


def test_the_last_layer_may_lie_deep(build: Build) -> None:
    network, images = build("Nested"), some_images()
    embedding = embedding_network(network)
    drawn, rest = (one.draw(torch.Generator().manual_seed(4)) for one in (network, embedding))
    assert set(rest) == {"body.1.weight", "body.1.bias"}
    assert torch.equal(embedding(rest, images), penultimate_features(network, drawn, images))


def test_it_computes_in_float64_too() -> None:
    network, images = build_network("convnet-w4-d2-bn", SHAPE, 3), some_images(dtype=torch.float64)
    embedding = embedding_network(network)
    parameters = moved(embedding.draw(torch.Generator().manual_seed(0)), "cpu", torch.float64)
    assert embedding(parameters, images).dtype == torch.float64


def test_a_network_without_a_linear_layer(build: Build) -> None:
    network = build("all_convolutions")
    with pytest.raises(
        InputError,
        match=r"embedded_networks:all_convolutions calls no nn\.Linear, but features are .*: choose a network that",
    ):
        embedding_network(network)
    assert not any(layer._forward_pre_hooks for layer in network.structure.modules())
