"""Features: the input of the last linear layer, against computations by hand."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.networks import features
from datacondense.networks.builder import build_network
from datacondense.networks.features import activation_maps, features_of, penultimate_features
from datacondense.networks.network import Network, Parameters
from tests.cases import NETWORKS
from tests.conftest import MakeSet

SOURCE = """
import torch
from torch import nn

class Reversed(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.last = nn.Linear(5, num_classes)
        self.first = nn.Linear(64, 5)

    def forward(self, images):
        return self.last(input=self.first(images.flatten(1)))

class Tokens(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.classify = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.classify(images[:, 0]).mean(1)

class Rows(Tokens):
    def forward(self, images):
        return self.classify(images.flatten(0, 2)).unflatten(0, (len(images), -1)).mean(1)

def linear(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def all_convolutions(image_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, num_classes, 8), nn.Flatten())

def no_parameters(image_shape, num_classes):
    class Corner(nn.Module):
        def forward(self, images):
            return images[:, 0, 0, :num_classes]
    return Corner()
"""
SHAPE = (1, 8, 8)
Build = Callable[[str], Network]


def _numbers(network: Network) -> Parameters:
    """Draw parameters none of which are at a special value."""
    generator = torch.Generator().manual_seed(0)
    drawn = network.draw(generator)
    return {
        name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in drawn.items()
    }


def _images(shape: tuple[int, int, int] = SHAPE, number: int = 3) -> Tensor:
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build networks of a module in the current folder."""
    (tmp_path / "feature_networks.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "feature_networks", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda attribute: build_network(f"feature_networks:{attribute}", SHAPE, 3)


def _mlp(p: Parameters, x: Tensor) -> Tensor:
    x = F.relu(F.linear(x.flatten(1), p["1.weight"], p["1.bias"]))
    return F.relu(F.linear(x, p["3.weight"], p["3.bias"]))


def _lenet(p: Parameters, x: Tensor) -> Tensor:
    x = F.max_pool2d(F.relu(F.conv2d(F.pad(x, (4, 4, 4, 4)), p["0.weight"], p["0.bias"])), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, p["3.weight"], p["3.bias"])), 2)
    x = F.relu(F.linear(x.flatten(1), p["7.weight"], p["7.bias"]))
    return F.relu(F.linear(x, p["9.weight"], p["9.bias"]))


def _convnet(p: Parameters, x: Tensor) -> Tensor:
    for block in (0, 4):
        x = F.conv2d(x, p[f"{block}.weight"], p[f"{block}.bias"], padding=1)
        x = F.instance_norm(x, weight=p[f"{block + 1}.weight"], bias=p[f"{block + 1}.bias"])
        x = F.avg_pool2d(F.relu(x), 2)
    return x.flatten(1)


def _alexnet(p: Parameters, x: Tensor) -> Tensor:
    for layer, padding, pooled in ((0, 2, True), (3, 2, True), (6, 1, False), (8, 1, False), (10, 1, True)):
        x = F.relu(F.conv2d(x, p[f"{layer}.weight"], p[f"{layer}.bias"], padding=padding))
        x = F.max_pool2d(x, 2) if pooled else x
    return x.flatten(1)


@pytest.mark.parametrize(
    ("name", "by_hand", "dimension"),
    [
        ("mlp", _mlp, 128),
        ("lenet", _lenet, 84),
        ("convnet-w16-d2", _convnet, 16 * 2 * 2),
        ("alexnet", _alexnet, 192),
    ],
)
def test_they_are_those_computed_by_hand(
    name: str, by_hand: Callable[[Parameters, Tensor], Tensor], dimension: int
) -> None:
    network, images = build_network(name, SHAPE, 3), _images()
    parameters = _numbers(network)
    found = penultimate_features(network, parameters, images)
    assert found.shape == (3, dimension)
    torch.testing.assert_close(found, by_hand(parameters, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_makes_the_logits_of_them(name: str) -> None:
    shape = (1, 28, 28) if name == "alexcifarnet" else SHAPE
    network, images = build_network(name, shape, 3), _images(shape, number=2)
    parameters = _numbers(network)
    weight, bias = list(parameters)[-2:]
    found = penultimate_features(network, parameters, images)
    expected = F.linear(found, parameters[weight], parameters[bias])
    torch.testing.assert_close(network(parameters, images), expected)


def test_the_last_layer_is_the_one_called_last(build: Build) -> None:
    network, images = build("Reversed"), _images()
    parameters = _numbers(network)
    expected = F.linear(images.flatten(1), parameters["first.weight"], parameters["first.bias"])
    assert torch.equal(penultimate_features(network, parameters, images), expected)


def test_further_axes_become_one(build: Build) -> None:
    network, images = build("Tokens"), _images()
    assert torch.equal(penultimate_features(network, _numbers(network), images), images.flatten(1))


def test_they_share_memory_with_nothing_and_have_no_gradient(build: Build) -> None:
    network, images = build("linear"), _images()
    parameters = {name: value.requires_grad_() for name, value in _numbers(network).items()}
    found = penultimate_features(network, parameters, images.requires_grad_())
    assert not found.requires_grad
    assert not found.is_inference()
    assert found.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("name", ["all_convolutions", "no_parameters"])
def test_a_network_without_a_linear_layer(build: Build, make: MakeSet, name: str) -> None:
    network = build(name)
    with pytest.raises(InputError, match=f"feature_networks:{name} calls no nn.Linear, but features are"):
        features_of(network, _numbers(network), make())


def test_a_linear_layer_on_something_else_than_images(build: Build) -> None:
    network = build("Rows")
    with pytest.raises(
        InputError, match=r"takes \(24, 8\) for 3 images, .*: let the first axis of its input be"
    ):
        penultimate_features(network, _numbers(network), _images())


@pytest.mark.parametrize("name", ["mlp", "no_linear"])
def test_the_network_does_not_change(build: Build, name: str) -> None:
    network = build("all_convolutions") if name == "no_linear" else build_network(name, SHAPE, 3)
    parameters, images = _numbers(network), _images()
    before = network(parameters, images)
    kept = {key: value.clone() for key, value in parameters.items()}
    try:
        penultimate_features(network, parameters, images)
    except InputError:
        assert name == "no_linear"
    assert not any(layer._forward_pre_hooks for layer in network.structure.modules())
    assert all(torch.equal(parameters[key], value) for key, value in kept.items())
    assert torch.equal(network(parameters, images), before)


def test_buffers_are_used_and_kept() -> None:
    network, images = build_network("convnet-w4-d1-bn", SHAPE, 3), _images()
    parameters = _numbers(network)
    buffers = network.measure_statistics(parameters, images)
    kept = {name: value.clone() for name, value in buffers.items()}
    found = penultimate_features(network, parameters, images, buffers)
    x = F.conv2d(images, parameters["0.weight"], parameters["0.bias"], padding=1)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True)
    x = (x - mean) / (variance + 1e-5).sqrt()
    x = x * parameters["1.weight"].view(-1, 1, 1) + parameters["1.bias"].view(-1, 1, 1)
    torch.testing.assert_close(found, F.avg_pool2d(F.relu(x), 2).flatten(1), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(buffers[name], value) for name, value in kept.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_of_a_set_are_computed_in_parts(
    make: MakeSet, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    images = make(per_class=5)  # 15 of them, in parts of 4, 4, 4 and 3
    network = build_network("convnet-w4-d1-bn", SHAPE, 3)
    parameters = {name: value.to(dtype) for name, value in _numbers(network).items()}
    inputs = images.normalised().to(dtype)
    buffers = network.measure_statistics(parameters, inputs)
    monkeypatch.setattr(features, "_BATCH", 4)
    found = features_of(network, parameters, images, buffers)
    assert found.dtype == dtype
    torch.testing.assert_close(found, penultimate_features(network, parameters, inputs, buffers))


@pytest.mark.parametrize(
    ("network", "sides"),
    [
        ("convnet-w4-d2", [32, 16]),
        ("convnet-w4-d2-swish-nopool", [32, 32]),
        ("lenet", [28, 10]),
        ("alexnet", [32, 16, 8, 8, 8]),
        ("vgg11", [32, 16, 8, 8, 4, 4, 2, 2]),
        ("resnet18", [32, 32, 32, 16, 16, 8, 8, 4, 4]),
    ],
)
def test_activation_maps_are_those_of_all_activation_layers(network: str, sides: list[int]) -> None:
    built = build_network(network, (3, 32, 32), 2)
    parameters = built.draw(torch.Generator().manual_seed(0))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    maps, output = activation_maps(built, partial(built, parameters), images)
    assert [own.shape[-1] for own in maps] == sides
    assert torch.equal(output, built(parameters, images))
    for own in maps:
        assert float(own.detach().min()) >= (-0.3 if "swish" in network else 0)
        assert torch.autograd.grad(own.sum(), images, retain_graph=True)[0].any()
    # No layer keeps its hook.
    assert not any(layer._forward_hooks for layer in built.structure.modules())


def test_networks_without_activation_maps_are_refused() -> None:
    built = build_network("mlp", (3, 32, 32), 2)
    parameters = built.draw(torch.Generator().manual_seed(0))
    with pytest.raises(
        InputError, match=r"mlp has no activation layer, .* choose a network of convolutions, or"
    ):
        activation_maps(built, partial(built, parameters), torch.zeros(2, 3, 32, 32))
