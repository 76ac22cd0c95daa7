"""Gradient transforms against explicit loops and against finite differences."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from datacondense.matching import reference
from datacondense.matching.distances import DISTANCES, distance_named
from datacondense.matching.gradients import Objective, compared_parameters, matching_gradient
from datacondense.matching.transforms import transform_named
from datacondense.networks.builder import build_network
from tests.matching.made_gradients import CHAINS, VALUES, apply, gradients, real_side


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_transforms_equal_loops_over_kernels_and_entries(names: tuple[str, ...], kind: str) -> None:
    real, synthetic = real_side(kind), gradients(kind, 9)
    assert real.perturbed is not None
    expected = reference.Gradients(
        list(real.mean), [list(part) for part in real.parts], list(real.perturbed), synthetic
    )
    for name in names:
        expected = reference.transform(name, expected)
    found = apply(names, real, synthetic)
    assert found.real.perturbed is not None
    for f, e in [
        (found.real.mean, expected.real),
        (found.real.perturbed, expected.noisy),
        (found.synthetic, expected.synthetic),
        *zip(found.real.parts, expected.parts, strict=True),
    ]:
        torch.testing.assert_close(list(f), e, rtol=1e-12, atol=1e-12)


K, S, B = 2, 2, 6  # six real images are no multiple of four sub-batches


@pytest.mark.parametrize(
    ("network", "compare"),
    [
        ("convnet-w4-d2", "weights"),
        ("convnet-w4-d2-swish-nonorm", "all"),
        ("convnet-w4-d2-bn", "weights"),
        ("lenet", "weights"),
    ],
)
@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_pixel_gradients_equal_explicit_loops(names: tuple[str, ...], network: str, compare: str) -> None:
    generator = torch.Generator().manual_seed(3)
    made = build_network(network, (2, 8, 8), K)
    parameters = {key: value.double() for key, value in made.draw(generator).items()}
    real, noise, synthetic = (
        torch.randn(K, n, 2, 8, 8, generator=generator, dtype=torch.float64) for n in (B, B, S)
    )
    model = partial(made, buffers=made.measure_statistics(parameters, torch.cat([real.flatten(0, 1)] * 2)))
    alone = Objective(
        model=model,
        real_model=model,
        compared=compared_parameters(parameters, compare),
        distance=distance_named("layerwise-cosine"),
        transforms=tuple(transform_named(name) for name in names),
        perturbed=lambda images, label: images + 0.1 * noise[label, : len(images)],
    )
    expected = reference.matching_gradient(
        model,
        parameters,
        alone.compared,
        real,
        synthetic,
        kind="layerwise-cosine",
        transforms=names,
        perturbed=alone.perturbed,
    )
    assert bool(expected[1].any())
    parts = replace(alone, shares_pass=True, real_shares_pass=True)
    for objective in (alone, parts, replace(parts, classes_at_once=K, real_classes_at_once=K)):
        found = matching_gradient(objective, parameters, real.__getitem__, synthetic)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_derivatives_through_transforms_equal_finite_differences(
    names: tuple[str, ...], distance: str
) -> None:
    real = real_side("normal")

    def value(*synthetic: Tensor) -> Tensor:
        pair = apply(names, real, synthetic)
        return DISTANCES[distance](pair.real.mean, pair.synthetic)

    synthetic = tuple(g.requires_grad_() for g in gradients("normal", 9))
    assert torch.autograd.gradcheck(value, synthetic, fast_mode=True)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("kind", ["normal", "ties", "equal", "zero"])
@pytest.mark.parametrize("names", [*CHAINS, ("keep-magnitude-global:0.0025",)], ids="+".join)
def test_rows_that_are_masked_away_give_finite_distances_and_derivatives(
    names: tuple[str, ...], kind: str, distance: str
) -> None:
    synthetic = [g.requires_grad_() for g in gradients(kind, 9)]
    pair = apply(names, real_side(kind), synthetic)
    value = DISTANCES[distance](pair.real.mean, pair.synthetic)
    assert bool(value.isfinite())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(value, synthetic))
