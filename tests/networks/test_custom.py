"""The user's own network, from a file in the current folder."""

import sys
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datacondense.errors import InputError
from datacondense.networks.builder import build_network
from datacondense.networks.names import evaluation_name, network_name
from datacondense.networks.network import Network

SOURCE = """
import torch
from torch import nn

def small(image_shape, num_classes):
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(4 * height * width, num_classes),
    )

class Tied(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.first = nn.Linear(64, 64).double()
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.last = nn.Linear(64, num_classes)
        self.register_buffer("table", torch.arange(64))

    def forward(self, images):
        features = images.flatten(1) * (self.table > 0)
        return self.last(self.second(self.first(features)))

def sum_of_pixels(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + 1))

def pair(image_shape, num_classes):
    class Pair(nn.Module):
        def forward(self, images):
            return images, images
    return Pair()

def wrong_size(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(5, num_classes))

def no_arguments():
    return nn.Identity()

def nothing(image_shape, num_classes):
    return None

number = 3
"""
SHAPE = (1, 8, 8)
Build = Callable[[str], Network]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build networks of a module in the current folder."""
    (tmp_path / "own_networks.py").write_text(SOURCE)
    (tmp_path / "broken_networks.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda attribute: build_network(attribute, SHAPE, 3)


def _images(seed: int = 0) -> Tensor:
    """Return five random images."""
    return 2 + torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_a_network_of_the_current_folder(build: Build) -> None:
    path = list(sys.path)
    network = build("own_networks:small")
    assert sys.path == path
    assert network.name == "own_networks:small"
    assert network.num_parameters == 4 * 9 + 4 + 8 + 3 * 256 + 3
    assert network(network.draw(torch.Generator()), _images()).shape == (5, 3)


def test_a_network_given_as_the_class_or_function_itself(build: Build) -> None:
    build("own_networks:small")  # which imports the module
    module = sys.modules["own_networks"]
    for attribute in ("small", "Tied"):
        by_name, by_object = (
            build(f"own_networks:{attribute}"),
            build_network(getattr(module, attribute), SHAPE, 3),
        )
        assert by_object.name == by_name.name == f"own_networks:{attribute}"
        found, expected = (network.draw(torch.Generator().manual_seed(1)) for network in (by_object, by_name))
        assert torch.equal(by_object(found, _images()), by_name(expected, _images()))


def test_a_network_defined_inside_a_function_works_as_an_object() -> None:
    def flat(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(image_shape), num_classes))

    network = build_network(flat, SHAPE, 3)
    assert network.name == network_name(flat) == evaluation_name(flat)
    assert network.name.startswith(f"{__name__}:test_a_network_defined_inside")
    assert network(network.draw(torch.Generator()), _images()).shape == (5, 3)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"3 is of type int, which cannot be called: give a function or class that"
    ):
        build_network(3, SHAPE, 3)  # type: ignore[arg-type]


def test_parameters_depend_on_the_generator_alone_and_the_global_one_is_restored(build: Build) -> None:
    before = torch.random.get_rng_state()
    network = build("own_networks:small")
    first, again, other = (network.draw(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    generator = torch.Generator().manual_seed(1)
    assert not torch.equal(network.draw(generator)["0.weight"], network.draw(generator)["0.weight"])
    assert not any(value.requires_grad for value in first.values())


def test_its_batch_statistics_are_measured_without_its_dropout(build: Build) -> None:
    network = build("own_networks:small")
    parameters = {name: value.double() for name, value in network.draw(torch.Generator()).items()}
    images = _images().double()
    before = torch.random.get_rng_state()
    measured = network.measure_statistics(parameters, images)
    assert torch.equal(torch.random.get_rng_state(), before)
    features = torch.nn.functional.conv2d(images, parameters["0.weight"], parameters["0.bias"], padding=1)
    torch.testing.assert_close(measured["1.running_mean"], features.mean((0, 2, 3)), atol=1e-10, rtol=0)
    torch.testing.assert_close(measured["1.running_var"], features.var((0, 2, 3)), atol=1e-10, rtol=0)
    assert torch.equal(network(parameters, images, measured), network(parameters, images, measured))


def test_tied_weights_and_buffers_survive(build: Build) -> None:
    network = build("own_networks:Tied")
    parameters = network.draw(torch.Generator())
    assert "second.weight" not in parameters
    assert parameters["first.weight"].dtype == torch.float32
    assert network.buffers()["table"].dtype == torch.int64
    assert not network.has_batch_norm
    bumped = {name: value + (name == "first.weight") for name, value in parameters.items()}
    features = _images().flatten(1) * (torch.arange(64) > 0)
    for weight in ("first", "second"):
        features = features @ bumped["first.weight"].T + bumped[f"{weight}.bias"]
    expected = features @ bumped["last.weight"].T + bumped["last.bias"]
    torch.testing.assert_close(network(bumped, _images()), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "absent_networks:small",
            "absent_networks cannot be imported .ModuleNotFoundError: .*: run from the folder that holds it, or",
        ),
        ("broken_networks:small", "broken_networks cannot be imported .*a_module_that_is_not_there"),
        (
            "own_networks:large",
            "the module own_networks has no 'large': name a network that it defines",
        ),
        ("own_networks:number", "own_networks:number is of type int, which cannot be called"),
        (
            "own_networks:no_arguments",
            r"failed when called with image_shape=\(1, 8, 8\), num_classes=3 .TypeError",
        ),
        ("own_networks:nothing", r"returned a NoneType, but must return a torch\.nn\.Module"),
        (
            "own_networks:sum_of_pixels",
            r"gave \(2, 4\) for 2 images and 3 classes, but logits must have shape",
        ),
        ("own_networks:pair", "gave tuple for 2 images"),
        (
            "own_networks:wrong_size",
            r"failed on images of shape \(2, 1, 8, 8\) .RuntimeError.*let its forward take",
        ),
    ],
)
def test_networks_that_cannot_work_are_refused_with_the_remedy(build: Build, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name)
