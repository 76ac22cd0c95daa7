"""Each distance against numbers worked out by hand."""

import math

import pytest
import torch

from datacondense.matching.distances import DISTANCES, flat_cosine, layerwise_cosine, squared

ROWS = [torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)]
OTHER = [torch.tensor([[4.0, 3.0], [0.0, 2.0]], dtype=torch.float64)]


def test_layerwise_cosine_takes_each_output_row_by_itself() -> None:
    # Rows: cos = 24/25, and cos = 0.
    assert float(layerwise_cosine(ROWS, OTHER)) == pytest.approx((1 - 24 / 25) + 1, abs=1e-6)


def test_flat_cosine_takes_all_numbers_as_one_vector() -> None:
    assert float(flat_cosine(ROWS, OTHER)) == pytest.approx(1 - 24 / math.sqrt(26 * 29), abs=1e-6)


def test_squared_sums_squared_differences() -> None:
    assert float(squared(ROWS, OTHER)) == pytest.approx(1 + 1 + 1 + 4)


def test_a_convolution_has_one_row_per_output_and_a_vector_is_one_row() -> None:
    kernel, vector = torch.ones(3, 2, 2, 2), torch.ones(5)
    assert float(layerwise_cosine([kernel], [-kernel])) == pytest.approx(6, abs=1e-4)
    assert float(layerwise_cosine([vector], [-vector])) == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_gradients_are_at_distance_zero(name: str) -> None:
    assert float(DISTANCES[name](ROWS, ROWS)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_zero_gradient_gives_finite_distance_and_derivative(name: str) -> None:
    zero = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    value = DISTANCES[name](ROWS, [zero])
    (derivative,) = torch.autograd.grad(value, zero)
    assert math.isfinite(float(value.detach()))
    assert bool(derivative.isfinite().all())


def test_cosines_ignore_scale_and_squared_does_not() -> None:
    tripled = [3 * OTHER[0]]
    assert float(layerwise_cosine(ROWS, tripled)) == pytest.approx(
        float(layerwise_cosine(ROWS, OTHER)), abs=1e-6
    )
    assert float(flat_cosine(ROWS, tripled)) == pytest.approx(float(flat_cosine(ROWS, OTHER)), abs=1e-6)
    assert float(squared(ROWS, tripled)) > float(squared(ROWS, OTHER))
