"""Gradients of several classes out of one pass: for any network of layers, and refused where they do not come apart."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.matching.class_gradients import (
    NotSharedError,
    class_gradients,
    obstacle,
    parameter_gradients,
)
from datacondense.matching.gradients import compared_parameters
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from tests.cases import FAMILIES, LARGE, NETWORKS
from tests.conftest import has_kernels
from tests.networks.own_layers import (
    BLOCKS,
    OTHERS,
    Build,
    block,
    hooked,
    shared_activation,
    shared_layer,
    shared_weight,
)

SHAPE, K = (2, 8, 8), 3
SIZES = (2, 1, 4)


class Own(nn.Module):
    """Layers as a user may write them."""

    def __init__(self, run: Callable[["Own", Tensor], Any]) -> None:
        super().__init__()
        self.run = run
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, (3, 1), stride=(2, 1), padding=(1, 0), groups=3)
        self.wide = nn.Conv2d(6, 6, 3, padding=2, dilation=2, bias=False, padding_mode="circular")
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.layer = nn.LayerNorm(6)
        self.attention = nn.Linear(6, 18)
        self.last = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def tokens(own: Own, x: Tensor) -> Any:
    """Take patches for rows, as transformers do, with layers used twice and activations in place."""
    x = F.relu(own.norm(own.grouped(own.first(x))), inplace=True)
    x = own.wide(own.wide(x))
    rows = own.layer(x.flatten(2).mT)
    q, k, v = own.attention(rows).chunk(3, -1)
    rows = (q @ k.mT / 6**0.5).softmax(-1) @ v + rows
    return F.gelu(own.last(rows)).mean(1)


def patches_as_images(own: Own, x: Tensor) -> Any:
    """Take the quarters of an image for a batch."""
    quarters = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return own.last(own.first(quarters).mean((2, 3))).unflatten(0, (len(x), 4)).mean(1)


def seen_others(own: Own, x: Tensor) -> Any:
    x = own.first(x)
    return own.last((x - x.mean(0)).square().mean((2, 3)))


def batch_statistics(own: Own, x: Tensor) -> Any:
    x = own.first(x)
    return own.last(F.batch_norm(x, None, None, own.norm.weight, training=True).square().mean((2, 3)))


def normalised_weight(own: Own, x: Tensor) -> Any:
    return own.last(F.conv2d(x, own.first.weight / own.first.weight.norm()).square().mean((2, 3)))


def other_product(own: Own, x: Tensor) -> Any:
    return own.first(x).mean((2, 3)) @ own.last.weight.T


def upside_down(own: Own, x: Tensor) -> Any:
    """Give the rows of all images in another order: patch by patch."""
    quarters = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(2, 3, 0, 1, 4, 5).flatten(0, 2)
    return own.last(own.first(quarters).mean((2, 3))).unflatten(0, (4, len(x))).mean(0)


def one_row(own: Own, x: Tensor) -> Any:
    """Join all images to one, as no batch does."""
    joined = own.first(torch.cat(list(x), 1)[None]).unflatten(2, (len(x), 8))
    return own.last(joined[0].transpose(0, 1).mean((2, 3)))


SEQUENCES: dict[str, Build] = {
    **BLOCKS,
    **OTHERS,
    "shared activation": shared_activation,
    "shared layer": shared_layer,
    "shared weight": shared_weight,
    "hooked": hooked,
    "nothing around": block(lambda: nn.Conv2d(2, 32, (3, 5), padding="valid"), features=32 * 5 * 3),
}
USABLE = {"tokens": tokens, "patches": patches_as_images}
REFUSED = {
    "images see each other": (seen_others, "images of other classes change the gradient of first.weight"),
    "batch statistics": (batch_statistics, "batch_norm takes statistics of the batch"),
    "changed weight": (normalised_weight, "norm takes a compared parameter"),
    "other product": (other_product, "takes a compared parameter"),
    "rows of images mixed": (upside_down, "images of other classes change the gradient of first.weight"),
    "rows of images joined": (one_row, "a layer sees 1 rows of 6 images"),
}


def drawn(network: Network) -> tuple[Parameters, Parameters, Tensor]:
    generator = torch.Generator().manual_seed(5)
    parameters = {name: tensor.double() for name, tensor in network.draw(generator).items()}
    images = torch.randn(sum(SIZES), *network.image_shape, generator=generator, dtype=torch.float64)
    return parameters, network.measure_statistics(parameters, torch.cat([images] * 2)), images


def own_network(run: Callable[[Own, Tensor], Any]) -> Network:
    def build(shape: tuple[int, int, int], classes: int) -> nn.Module:
        return Own(run)

    return build_network(build, SHAPE, K)


def assert_comes_apart(network: Network, compared: Sequence[str]) -> None:
    parameters, buffers, images = drawn(network)
    model = partial(network, buffers=buffers)
    labels = torch.tensor([2, 0, 1])
    found = class_gradients(model, parameters, compared, images, labels, SIZES)
    assert not any(tensor.requires_grad for tensor in (*found, *parameters.values()))
    for k, own in enumerate(images.split(SIZES)):
        expected = parameter_gradients(model, parameters, compared, own, int(labels[k]))
        torch.testing.assert_close([g[k] for g in found], list(expected), rtol=1e-9, atol=1e-12)
    assert obstacle(model, parameters, compared, network.image_shape) is None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE and name not in FAMILIES else [])
        for name in NETWORKS
    ],
)
def test_every_network_of_the_library_comes_apart(name: str) -> None:
    side = 32 if name == "alexcifarnet" else 8
    network = build_network(name, (2, side, side), K)
    assert_comes_apart(network, compared_parameters(drawn(network)[0], "all"))


@pytest.mark.parametrize("run", USABLE.values(), ids=list(USABLE))
def test_networks_of_ones_own_come_apart(run: Callable[[Own, Tensor], Any]) -> None:
    network = own_network(run)
    assert_comes_apart(network, used(network))


@pytest.mark.parametrize("own", SEQUENCES.values(), ids=list(SEQUENCES))
def test_layers_of_ones_own_come_apart(own: Build) -> None:
    network = build_network(own, (2, 12, 10), K)
    assert_comes_apart(network, list(drawn(network)[0]))


def used(network: Network) -> list[str]:
    """Return the names of the parameters on which the logits depend."""
    parameters, _, images = drawn(network)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in parameters.items()}
    found = torch.autograd.grad(network(leaves, images).sum(), list(leaves.values()), allow_unused=True)
    return [name for name, gradient in zip(leaves, found, strict=True) if gradient is not None]


@pytest.mark.parametrize(("run", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_other_networks_are_told_apart(run: Callable[[Own, Tensor], Any], reason: str) -> None:
    network = own_network(run)
    found = obstacle(network, drawn(network)[0], used(network), SHAPE)
    assert found is not None
    assert reason in found


def test_a_parameter_that_no_layer_is_seen_to_use_is_refused() -> None:
    def model(parameters: Parameters, images: Tensor) -> Tensor:
        return F.linear(images.flatten(1), parameters["v"])

    parameters = {name: torch.randn(K, 128, generator=torch.Generator().manual_seed(0)) for name in "vw"}
    images, labels = torch.zeros(2, *SHAPE), torch.tensor([0, 1])
    with pytest.raises(NotSharedError, match="no layer is seen to use w"):
        class_gradients(model, parameters, ["v", "w"], images, labels, [1, 1])


def test_gradients_can_be_differentiated_again_in_the_images() -> None:
    network = own_network(tokens)
    parameters, _, images = drawn(network)
    compared = used(network)

    def gradients(images: Tensor) -> tuple[Tensor, ...]:
        labels = torch.tensor([2, 0, 1])
        return class_gradients(network, parameters, compared, images, labels, SIZES, create_graph=True)

    assert torch.autograd.gradcheck(gradients, images.requires_grad_(), fast_mode=True)


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fused_engine_shares_a_pass_for_weights_and_not_for_what_its_kernel_takes(precision: str) -> None:
    network = build_network("convnet-w32-d2", SHAPE, K)
    parameters = network.draw(torch.Generator().manual_seed(3))
    model = first_order_model(network, Backend("fused", precision))
    assert obstacle(model, parameters, compared_parameters(parameters), SHAPE) is None
    reason = obstacle(model, parameters, compared_parameters(parameters, "all"), SHAPE)
    assert reason is not None


@pytest.mark.parametrize(
    "name", ["lenet", "convnet-w4-d2-bn", pytest.param("resnet18", marks=pytest.mark.slow)]
)
def test_layers_that_autocast_rounds_come_apart(name: str) -> None:
    network = build_network(name, SHAPE, K)
    parameters = network.draw(torch.Generator().manual_seed(3))
    model = first_order_model(network, Backend("eager", "bfloat16"))
    compared = compared_parameters(parameters)
    assert obstacle(model, parameters, compared, SHAPE) is None
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(4))
    found = class_gradients(model, parameters, compared, images, torch.arange(3), [1, 1, 1])
    assert all(tensor.dtype == torch.float32 for tensor in found)
