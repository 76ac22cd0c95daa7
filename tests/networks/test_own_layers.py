"""Layers that the library's own networks never have, in the fused and the stacked form of a user's network."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.initial_values import draw_parameters, initial_buffers
from datacondense.networks.network import Network, Parameters
from datacondense.networks.stacked import stack_network
from tests.cases import logits_and_gradients
from tests.conftest import has_kernels

SHAPE, WIDTH = (2, 26, 22), 32  # the second block sees 13x11 pixels, on which poolings and strides differ
CONVOLUTIONS = {
    "strided": partial(nn.Conv2d, WIDTH, WIDTH, 3, stride=(2, 1), padding=1),
    "grouped": partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=1, groups=4),
    "dilated": partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=2, dilation=2),
    "unevenly-padded": partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=(2, 0)),
    "circular": partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=1, padding_mode="circular"),
    "without-bias": partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=1, bias=False),
}
NORMS = {
    "large-eps": partial(nn.GroupNorm, WIDTH, WIDTH, eps=0.5),
    "fewer-groups": partial(nn.GroupNorm, 4, WIDTH),
    "not-affine": partial(nn.GroupNorm, WIDTH, WIDTH, affine=False),
}
POOLINGS = {
    "ceiling": partial(nn.AvgPool2d, 2, ceil_mode=True),
    "overlapping": partial(nn.AvgPool2d, 2, stride=1),
    "padded-pooling": partial(nn.AvgPool2d, 2, padding=1),
    "large-pooling": partial(nn.AvgPool2d, 3),
    "other-divisor": partial(nn.AvgPool2d, 2, divisor_override=3),
}
ODD = {**CONVOLUTIONS, **NORMS, **POOLINGS}


def own_network(odd: str) -> tuple[Network, Parameters, Tensor]:
    """Return a network of two blocks, the second with one odd layer, with parameters and images."""
    block = [
        # As all blocks of the library are.
        nn.Conv2d(2, WIDTH, 3, padding=1),
        nn.GroupNorm(WIDTH, WIDTH),
        nn.ReLU(),
        nn.AvgPool2d(2),
        CONVOLUTIONS.get(odd, partial(nn.Conv2d, WIDTH, WIDTH, 3, padding=1))(),
        NORMS.get(odd, partial(nn.GroupNorm, WIDTH, WIDTH))(),
        nn.ReLU(),
        POOLINGS.get(odd, partial(nn.AvgPool2d, 2))(),
        nn.Flatten(),
    ]
    features = nn.Sequential(*block)(torch.zeros(1, *SHAPE)).shape[1]
    structure = nn.Sequential(*block, nn.Linear(features, 3))
    network = Network(
        name=f"own:{odd}",
        image_shape=SHAPE,
        num_classes=3,
        structure=structure,
        draw=partial(draw_parameters, structure),
        buffers=initial_buffers(structure),
    )
    generator = torch.Generator().manual_seed(1)
    parameters = network.draw(generator)
    # Norms start as the identity, which would hide a mistake.
    parameters = {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in parameters.items()}
    return network, parameters, torch.randn(6, *SHAPE, generator=generator)


def assert_fused_equals_eager(odd: str) -> None:
    network, parameters, images = own_network(odd)
    backend = choose_backend(network, "cpu", precision="float32", engine="fused")
    found = logits_and_gradients(first_order_model(network, backend), parameters, images)
    expected = logits_and_gradients(network, parameters, images)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=2e-5)


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize("odd", ODD)
def test_the_fused_form_computes_odd_layers_as_they_are(odd: str) -> None:
    assert_fused_equals_eager(odd)


@pytest.mark.parametrize("odd", ODD)
def test_the_stacked_form_computes_odd_layers_as_they_are(odd: str) -> None:
    network, _, images = own_network(odd)
    stacked = stack_network(network)
    if odd == "circular":
        assert stacked is None
        return
    assert stacked is not None
    copies = [
        {
            name: tensor.double() + torch.randn(tensor.shape, generator=torch.Generator().manual_seed(r)) / 5
            for name, tensor in network.draw(torch.Generator().manual_seed(r)).items()
        }
        for r in range(3)
    ]
    each = images.double().unflatten(0, (3, 2))
    together = stacked({name: torch.stack([copy[name] for copy in copies]) for name in copies[0]}, each)
    for copy, own, found in zip(copies, each, together, strict=True):
        torch.testing.assert_close(found, network(copy, own), rtol=1e-10, atol=1e-12)
