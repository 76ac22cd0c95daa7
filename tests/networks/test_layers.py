"""Norms, activations, poolings, borders."""

import pytest
import torch
from torch import Tensor

from datacondense.networks.layers import (
    ACTIVATIONS,
    POOLINGS,
    border,
    norm_layers,
    padded,
)
from datacondense.networks.names import Activation, Norm


def _values(*shape: int) -> Tensor:
    """Draw float64 values of about unit size."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sigmoid", lambda x: 1 / (1 + (-x).exp())),
        ("relu", lambda x: x * (x > 0)),
        ("leaky", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("swish", lambda x: x / (1 + (-x).exp())),
    ],
)
def test_activations_follow_their_formula_and_leave_the_input_alone(
    name: Activation, expected: object
) -> None:
    values = _values(50)
    before = values.clone()
    assert callable(expected)
    torch.testing.assert_close(ACTIVATIONS[name]()(values), expected(values))
    assert torch.equal(values, before)


@pytest.mark.parametrize(
    ("name", "groups_of_axes"),
    [("batch", (0, 3, 4)), ("layer", (1, 2, 3, 4)), ("instance", (3, 4)), ("group", (2, 3, 4))],
)
def test_norms_standardise_over_their_axes(name: Norm, groups_of_axes: tuple[int, ...]) -> None:
    values = 5 + 3 * _values(6, 8, 4, 5)
    (layer,) = norm_layers(name, 8, (4, 5))
    normalised = layer.double()(values).view(6, 4, 2, 4, 5)
    mean, variance = normalised.mean(groups_of_axes), normalised.var(groups_of_axes, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean))
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=1e-4, rtol=0)


def test_layer_norm_has_one_weight_per_value_and_no_norm_no_layer() -> None:
    (layer,) = norm_layers("layer", 8, (4, 5))
    assert [tuple(parameter.shape) for parameter in layer.parameters()] == [(8, 4, 5), (8, 4, 5)]
    assert norm_layers("none", 8) == []


def test_poolings_halve() -> None:
    values = torch.tensor([[[[1.0, 3.0, 9.0], [5.0, 7.0, 9.0]]]])
    assert POOLINGS["average"](2)(values).tolist() == [[[[4.0]]]]
    assert POOLINGS["max"](2)(values).tolist() == [[[[7.0]]]]


@pytest.mark.parametrize(
    ("shape", "smallest", "grow_28", "expected"),
    [
        ((1, 28, 28), 0, True, (2, 2)),
        ((3, 28, 28), 0, True, (2, 2)),
        ((1, 28, 28), 0, False, (0, 0)),
        ((1, 32, 32), 0, True, (0, 0)),
        ((3, 28, 30), 0, True, (0, 0)),
        ((1, 8, 8), 0, True, (0, 0)),
        ((1, 8, 8), 16, True, (4, 4)),
        ((1, 15, 40), 16, True, (1, 0)),
        ((1, 17, 23), 32, True, (8, 5)),
    ],
)
def test_border(shape: tuple[int, int, int], smallest: int, grow_28: bool, expected: tuple[int, int]) -> None:
    assert border(shape, smallest=smallest, grow_28=grow_28) == expected
    assert padded(2, expected) == (2 + expected[0], 2 + expected[1])
