"""`Network`: parameters and buffers are arguments, derivatives of any order, measured statistics."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters

DTYPE = torch.float64


def _images(network: Network, number: int = 6, seed: int = 1) -> Tensor:
    """Draw images that are far from standardised."""
    generator = torch.Generator().manual_seed(seed)
    return 2 + 3 * torch.randn(number, *network.image_shape, generator=generator, dtype=DTYPE)


def _numbers(network: Network, seed: int = 0) -> Parameters:
    """Draw parameters in float64, none of them at a special value such as a norm's first weight 1."""
    generator = torch.Generator().manual_seed(seed)
    drawn = network.draw(generator)
    return {name: p.double() + 0.1 * torch.randn(p.shape, generator=generator) for name, p in drawn.items()}


def test_parameters_depend_on_the_generator_alone() -> None:
    network = build_network("convnet-w8", (1, 8, 8), 2)
    first, again, other = (network.draw(torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    generator = torch.Generator().manual_seed(7)
    assert not torch.equal(network.draw(generator)["0.weight"], network.draw(generator)["0.weight"])


def test_parameters_and_buffers_share_memory_with_nothing() -> None:
    network = build_network("convnet-w8-bn", (1, 8, 8), 2)

    def draw() -> Parameters:
        return network.draw(torch.Generator().manual_seed(1))

    for give in (draw, network.buffers):
        spoilt = give()
        expected = {name: tensor.clone() for name, tensor in spoilt.items()}
        for tensor in spoilt.values():
            tensor.fill_(9)
        assert all(torch.equal(value, expected[name]) for name, value in give().items())


def test_buffers_exist_with_batch_normalisation_only() -> None:
    plain, batch = (build_network(name, (1, 8, 8), 2) for name in ("convnet-w4-d1", "convnet-w4-d1-bn"))
    assert (plain.has_batch_norm, batch.has_batch_norm) == (False, True)
    assert plain.buffers() == {}
    assert list(batch.buffers()) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    images = _images(plain)
    assert plain.measure_statistics(_numbers(plain), images) == {}


def test_without_buffers_the_initial_ones_are_used() -> None:
    network = build_network("convnet-w4-bn", (1, 8, 8), 2)
    parameters, images = _numbers(network), _images(network)
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in network.buffers().items()}
    assert torch.equal(network(parameters, images), network(parameters, images, buffers))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("convnet-w8-bn", (1, 8, 8)), ("convnet-w8-d4-bn-max", (3, 28, 28)), ("resnet18-bn", (1, 8, 8)),
     ("resnet18-bn-ap", (1, 8, 8))],
)  # fmt: skip
def test_measured_statistics_are_exactly_those_of_every_layers_input(
    name: str, shape: tuple[int, int, int]
) -> None:
    network = build_network(name, shape, 3)
    parameters, images = _numbers(network), _images(network)
    measured = network.measure_statistics(parameters, images)
    inputs = _batch_norm_inputs(network, parameters, images)
    assert len(inputs) == sum(key.endswith("running_mean") for key in measured) > 2
    for prefix, values in inputs.items():
        mean, variance = measured[f"{prefix}.running_mean"], measured[f"{prefix}.running_var"]
        torch.testing.assert_close(mean, values.mean((0, 2, 3)), atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(variance, values.var((0, 2, 3)), atol=1e-10, rtol=1e-10)
        assert mean.dtype == DTYPE


def _batch_norm_inputs(network: Network, parameters: Parameters, images: Tensor) -> dict[str, Tensor]:
    """Run an ordinary module in training mode and note what enters each batch normalisation."""
    module = copy.deepcopy(network._structure).to_empty(device="cpu").to(DTYPE).train()
    module.load_state_dict({**parameters, **network.buffers()})
    inputs: dict[str, Tensor] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(
                lambda _, given, name=name: inputs.update({name: given[0].detach()})
            )
    module(images)
    return inputs


def test_frozen_statistics_reproduce_the_batch_they_were_measured_on() -> None:
    network = build_network("convnet-w8-d1-bn", (1, 32, 32), 2)
    parameters, images = _numbers(network), _images(network)
    frozen = network(parameters, images, network.measure_statistics(parameters, images))
    # Biased against unbiased variance: one part in 6 * 32 * 32.
    torch.testing.assert_close(frozen, network(parameters, images, training=True), atol=0, rtol=2e-3)


def test_frozen_statistics_are_frozen() -> None:
    network = build_network("convnet-w8-bn", (1, 8, 8), 2)
    parameters, images = _numbers(network), _images(network)
    buffers = network.measure_statistics(parameters, images)
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    together = network(parameters, 5 * images, buffers)
    assert all(torch.equal(buffers[name], before[name]) for name in before)
    alone = torch.cat([network(parameters, 5 * image[None], buffers) for image in images])
    torch.testing.assert_close(together, alone)


def test_training_updates_the_given_buffers_and_leaves_nothing_behind() -> None:
    network = build_network("convnet-w8-bn", (1, 8, 8), 2)
    parameters, images = _numbers(network), _images(network)
    reference, statistics = network(parameters, images), network.measure_statistics(parameters, images)
    buffers = network.measure_statistics(parameters, images)
    trained = network(parameters, 2 * images, buffers, training=True)
    assert not torch.equal(trained, reference)
    assert not torch.equal(buffers["1.running_mean"], statistics["1.running_mean"])
    assert torch.equal(network(parameters, images), reference)
    again = network.measure_statistics(parameters, images)
    assert all(torch.equal(again[name], statistics[name]) for name in statistics)
    assert torch.equal(network(parameters, images), reference)


def test_training_mode_normalises_by_the_batch() -> None:
    network = build_network("convnet-w8-bn", (1, 8, 8), 2)
    parameters, images = _numbers(network), _images(network)
    full = network(parameters, images, training=True)
    assert not torch.allclose(full[:3], network(parameters, images[:3], training=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_without_buffers_leaves_the_initial_ones_alone(dtype: torch.dtype) -> None:
    network = build_network("convnet-w8-bn", (1, 8, 8), 2)
    before = network.buffers()
    network({k: p.to(dtype) for k, p in _numbers(network).items()}, _images(network).to(dtype), training=True)
    assert all(torch.equal(value, before[name]) for name, value in network.buffers().items())


class _Odd(nn.Module):
    """Batch normalisations of unusual momentum, one used twice, one unused, with dropout on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.cumulative = nn.BatchNorm1d(4, momentum=None)
        self.fixed = nn.BatchNorm1d(4, momentum=0.0)
        self.twice = nn.BatchNorm1d(4, momentum=0.25)
        self.unused = nn.BatchNorm1d(4)
        self.untracked = nn.BatchNorm1d(4, track_running_stats=False)
        self.dropout = nn.Dropout(0.5)
        self.saw_gradients_on = False

    def forward(self, images: Tensor) -> Tensor:
        self.saw_gradients_on = torch.is_grad_enabled()
        values = self.dropout(images.flatten(1))
        self.fixed(values)
        self.untracked(values)
        self.twice(values)
        self.twice(values)
        logits: Tensor = self.cumulative(values)
        return logits


def test_statistics_of_unusual_batch_normalisations() -> None:
    structure = _Odd()
    network = Network(
        name="odd",
        image_shape=(1, 2, 2),
        num_classes=4,
        structure=structure,
        draw=lambda _: dict(structure.named_parameters()),
        buffers=dict(structure.named_buffers()),
    )
    images = _images(network)
    before = torch.random.get_rng_state()
    measured = network.measure_statistics(dict(structure.double().named_parameters()), images)
    assert torch.equal(torch.random.get_rng_state(), before)  # dropout stayed off
    assert not structure.saw_gradients_on
    for layer in ("cumulative", "twice"):
        torch.testing.assert_close(measured[f"{layer}.running_mean"], images.flatten(1).mean(0))
        torch.testing.assert_close(measured[f"{layer}.running_var"], images.flatten(1).var(0))
    for layer in ("fixed", "unused"):
        assert measured[f"{layer}.running_mean"].tolist() == [0] * 4
        assert measured[f"{layer}.running_var"].tolist() == [1] * 4


SECOND_ORDER = [
    *(f"convnet-w4-d2-swish-{norm}" for norm in ("nonorm", "bn", "ln", "in", "gn")),
    *(f"convnet-w4-d2-{activation}" for activation in ("sigmoid", "relu", "leaky")),
    *(f"convnet-w4-d2-swish-{pooling}" for pooling in ("nopool", "max")),
]


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_the_gradients_gradient_agrees_with_finite_differences(name: str) -> None:
    network = build_network(name, (1, 8, 8), 2)
    parameters = {key: value.requires_grad_() for key, value in _numbers(network).items()}
    images = 0.3 * _images(network, number=2)
    buffers = network.measure_statistics(parameters, images)
    generator = torch.Generator().manual_seed(9)
    directions = [torch.randn(p.shape, generator=generator, dtype=DTYPE) for p in parameters.values()]

    def slope(images: Tensor) -> Tensor:
        loss = F.cross_entropy(network(parameters, images, buffers), torch.tensor([0, 1]))
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        return torch.stack([(g * d).sum() for g, d in zip(gradients, directions, strict=True)]).sum()

    assert torch.autograd.gradcheck(slope, images.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", ["mlp", "lenet", "alexnet", "vgg11-bn", "resnet18", "alexcifarnet"])
def test_every_family_can_be_differentiated_twice(name: str) -> None:
    network = build_network(name, (1, 32, 32) if name == "alexcifarnet" else (1, 8, 8), 2)
    parameters = {key: value.requires_grad_() for key, value in network.draw(torch.Generator()).items()}
    images = _images(network, number=2).float().requires_grad_()
    loss = F.cross_entropy(network(parameters, images), torch.tensor([0, 1]))
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    (second,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
    assert bool(second.isfinite().all())
    assert second.abs().max() > 0
