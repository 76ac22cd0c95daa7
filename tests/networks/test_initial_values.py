"""Drawn parameters equal PyTorch's own first values in distribution."""

import math

import pytest
import torch
from torch import Tensor, nn

from datacondense.networks.initial_values import draw_parameters, initial_buffers

STRUCTURE = nn.Sequential(nn.Conv2d(3, 40, 5), nn.BatchNorm2d(40), nn.Linear(60, 70), nn.LayerNorm((7, 2)))
FAN_INS = {"0.weight": 75, "0.bias": 75, "2.weight": 60, "2.bias": 60}


def _many_iterations() -> dict[str, Tensor]:
    """Collect each parameter's values over 200 draws."""
    generator = torch.Generator().manual_seed(3)
    iterations = [draw_parameters(STRUCTURE, generator) for _ in range(200)]
    return {name: torch.cat([draw[name].flatten() for draw in iterations]) for name in iterations[0]}


def test_weights_and_biases_are_uniform_within_one_over_root_fan_in() -> None:
    values = _many_iterations()
    for name, fan_in in FAN_INS.items():
        bound, drawn = 1 / math.sqrt(fan_in), values[name].double()
        assert drawn.abs().max() <= bound
        # The largest gap between empirical and uniform distribution (Kolmogorov): 1.9 / sqrt(n) at p = 0.001.
        uniform = (drawn.sort().values + bound) / (2 * bound)
        gap = (uniform - torch.arange(1, len(drawn) + 1) / len(drawn)).abs().max()
        assert gap < 1.95 / math.sqrt(len(drawn))


def test_the_bounds_are_those_of_pytorch() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = [nn.Sequential(nn.Conv2d(3, 40, 5), nn.Identity(), nn.Linear(60, 70)) for _ in range(200)]
    for name, drawn in _many_iterations().items():
        if name in FAN_INS:
            theirs = torch.cat([layer.get_parameter(name).detach().flatten() for layer in layers])
            assert drawn.max() == pytest.approx(theirs.max().item(), rel=2e-3)
            assert drawn.min() == pytest.approx(theirs.min().item(), rel=2e-3)
            assert drawn.std() == pytest.approx(theirs.std().item(), rel=0.02)


def test_norms_start_as_the_identity() -> None:
    drawn = draw_parameters(STRUCTURE, torch.Generator())
    for norm in ("1", "3"):
        assert bool((drawn[f"{norm}.weight"] == 1).all())
        assert bool((drawn[f"{norm}.bias"] == 0).all())


def test_order_shapes_and_types_are_those_of_the_structure() -> None:
    drawn = draw_parameters(STRUCTURE, torch.Generator())
    expected = {name: parameter.shape for name, parameter in STRUCTURE.named_parameters()}
    assert list(drawn) == list(expected)
    assert {name: value.shape for name, value in drawn.items()} == expected
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in drawn.values())


def test_buffers_start_as_batch_normalisation_does() -> None:
    expected = dict(STRUCTURE.named_buffers())
    with torch.device("meta"):
        structure = nn.Sequential(nn.Identity(), nn.BatchNorm2d(40))
    buffers = initial_buffers(structure)
    assert list(buffers) == list(expected)
    for name, buffer in buffers.items():
        assert torch.equal(buffer, expected[name])
        assert buffer.dtype == expected[name].dtype


def test_a_layer_without_a_rule_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match=r"no rule draws 0\.weight of PReLU"):
        draw_parameters(nn.Sequential(nn.PReLU()), torch.Generator())
