"""The fast path against the explicit loops, and both against finite differences."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching import reference
from datacondense.matching.class_gradients import Model, parameter_gradients
from datacondense.matching.distances import DISTANCES, distance_named
from datacondense.matching.gradients import (
    Objective,
    compared_parameters,
    matching_gradient,
)
from datacondense.matching.transforms import transform_named
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from tests.cases import FAMILIES, LARGE, NETWORKS
from tests.conftest import has_kernels

K, S, B = 2, 2, 3


def setting(name: str, side: int = 8) -> tuple[Network, Parameters, Parameters, Tensor, Tensor]:
    """Draw one network and its images, all in float64."""
    side = 32 if name == "alexcifarnet" else side
    generator = torch.Generator().manual_seed(5)
    network = build_network(name, (2, side, side), K)
    parameters = {key: value.double() for key, value in network.draw(generator).items()}
    real = torch.randn(K, B, 2, side, side, generator=generator, dtype=torch.float64)
    synthetic = torch.randn(K, S, 2, side, side, generator=generator, dtype=torch.float64)
    buffers = network.measure_statistics(parameters, torch.cat([real.flatten(0, 1)] * 2))
    return network, parameters, buffers, real, synthetic


def objective(model: Model, compared: tuple[str, ...], kind: str) -> Objective:
    """Match with torch's own layers on both sides."""
    return Objective(model=model, real_model=model, compared=compared, distance=distance_named(kind))


def together(alone: Objective, at_once: int) -> Objective:
    """Take as many classes at once, their gradients out of one pass."""
    return replace(
        alone, shares_pass=True, real_shares_pass=True, classes_at_once=at_once, real_classes_at_once=at_once
    )


CASES = [(name, kind, compare) for name in NETWORKS for kind in DISTANCES for compare in ("weights", "all")]
QUICK = [
    case
    for case in CASES
    if case[0] not in LARGE
    or (case[0] in FAMILIES and case[1:] == (list(DISTANCES)[LARGE.index(case[0]) % 3], "weights"))
]


@pytest.mark.parametrize(
    ("name", "kind", "compare"),
    [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in CASES],
)
def test_fast_path_equals_explicit_loops(name: str, kind: str, compare: str) -> None:
    network, parameters, buffers, real, synthetic = setting(name)
    model = partial(network, buffers=buffers)
    compared = compared_parameters(parameters, compare)
    alone = objective(model, compared, kind)
    expected = reference.matching_gradient(model, parameters, compared, real, synthetic, kind=kind)
    for each in (alone, together(alone, K)):
        found = matching_gradient(each, parameters, real.__getitem__, synthetic)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


# Smooth activations and pooling only: a finite difference across a kink of relu or max is no derivative.
SMOOTH = [f"convnet-w4-d2-swish-{norm}" for norm in ("nonorm", "bn", "ln", "in", "gn")]


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("name", [*SMOOTH, "convnet-w4-d2-sigmoid", "convnet-w4-d1-swish-nopool"])
@pytest.mark.parametrize("compare", ["weights", "all"])
def test_second_derivative_equals_finite_differences(name: str, kind: str, compare: str) -> None:
    network, parameters, buffers, real, synthetic = setting(name)
    model = partial(network, buffers=buffers)
    compared = compared_parameters(parameters, compare)

    def total(images: Tensor) -> float:
        distances, _ = matching_gradient(
            objective(model, compared, kind), parameters, real.__getitem__, images
        )
        return float(distances.sum())

    _, gradient = matching_gradient(objective(model, compared, kind), parameters, real.__getitem__, synthetic)
    generator = torch.Generator().manual_seed(6)
    for _ in range(3):
        direction = torch.randn(synthetic.shape, generator=generator, dtype=torch.float64)
        # Central differences err by step² and by 1e-16 / step: near 1e-5 both are about 1e-10.
        step = 1e-5
        slope = (total(synthetic + step * direction) - total(synthetic - step * direction)) / (2 * step)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-8)


def test_only_compared_parameters_are_differentiated() -> None:
    network, parameters, buffers, real, _ = setting("convnet-w4-d2")
    compared = compared_parameters(parameters, "weights")
    assert [parameters[name].dim() for name in compared] == [4, 4, 2]
    gradients = parameter_gradients(
        partial(network, buffers=buffers), parameters, compared, real[0], 0, create_graph=True
    )
    assert [g.shape for g in gradients] == [parameters[name].shape for name in compared]
    assert all(g.requires_grad for g in gradients)
    real_side = parameter_gradients(partial(network, buffers=buffers), parameters, compared, real[0], 0)
    assert not any(g.requires_grad for g in real_side)


def test_patterns_choose_parameters_by_name() -> None:
    parameters = {"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2), "b.weight": torch.ones(2, 2)}
    assert compared_parameters(parameters, "weights") == ("a.weight", "b.weight")
    assert compared_parameters(parameters, "all") == ("a.weight", "a.bias", "b.weight")
    assert compared_parameters(parameters, "a.*") == ("a.weight", "a.bias")
    assert compared_parameters(parameters, "*.bias, b.*") == ("a.bias", "b.weight")


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"compare is 'c\.\*', which is none of .*a\.weight.*give 'weights'"):
        compared_parameters({"a.weight": torch.ones(2, 2)}, "c.*")


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(
        InputError, match="no distance 'manhattan': choose one of layerwise-cosine, flat-cosine"
    ):
        distance_named("manhattan")


@pytest.mark.parametrize(
    ("batch", "noisy"), [(1, 1), (2, 1), (8, 1), (9, 2), (12, 2), (15, 2), (16, 2), (17, 3)]
)
def test_noise_is_put_on_an_eighth_of_the_real_images_rounded_up(batch: int, noisy: int) -> None:
    network, parameters, _, _, synthetic = setting("convnet-w4-d1")
    seen: list[int] = []

    def perturbed(images: Tensor, label: int) -> Tensor:
        seen.append(len(images))
        return images

    matched = objective(network, ("0.weight",), "squared")
    matched = replace(matched, transforms=(transform_named("keep-stable:0.5"),), perturbed=perturbed)
    real = torch.randn(K, batch, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    matching_gradient(matched, parameters, real.__getitem__, synthetic)
    assert seen == [noisy] * K


def test_real_batches_are_drawn_one_at_a_time() -> None:
    network, parameters, buffers, real, synthetic = setting("convnet-w4-d2")
    calls: list[int] = []

    def real_batch(label: int) -> Tensor:
        calls.append(label)
        return real[label]

    model = partial(network, buffers=buffers)
    matching_gradient(
        objective(model, compared_parameters(parameters), "squared"), parameters, real_batch, synthetic
    )
    assert calls == [0, 1]


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
@pytest.mark.parametrize("kind", DISTANCES)
def test_pixel_gradient_is_the_same_with_a_fused_real_side(kind: str) -> None:
    network, parameters, _, real, synthetic = setting("convnet-w32-d2")
    single = {key: value.float() for key, value in parameters.items()}
    compared = compared_parameters(single)
    exact = objective(network, compared, kind)
    fused = replace(exact, real_model=first_order_model(network, Backend("fused", "float32")))
    expected = matching_gradient(exact, single, real.float().__getitem__, synthetic.float())
    found = matching_gradient(fused, single, real.float().__getitem__, synthetic.float())
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=1e-4 * float(e.abs().max()))


@pytest.mark.parametrize("at_once", [2, 3, 5])
@pytest.mark.parametrize("compare", ["weights", "all"])
@pytest.mark.parametrize(
    "name", ["convnet-w4-d2", "convnet-w4-d2-gn-max", "convnet-w4-d1-nonorm-nopool-leaky", "lenet", "mlp"]
)
@pytest.mark.parametrize("transforms", [(), ("keep-stable:0.5",)], ids="+".join)
def test_classes_at_once_equal_classes_one_by_one(
    name: str, compare: str, at_once: int, transforms: tuple[str, ...]
) -> None:
    network = build_network(name, (2, 8, 8), 5)
    generator = torch.Generator().manual_seed(7)
    parameters = {key: value.double() for key, value in network.draw(generator).items()}
    synthetic = torch.randn(5, 2, 2, 8, 8, generator=generator, dtype=torch.float64)
    # Classes with fewer images than the batch give what they have.
    real = [torch.randn(n, 2, 8, 8, generator=generator, dtype=torch.float64) for n in (4, 4, 1, 3, 4)]
    alone = objective(network, compared_parameters(parameters, compare), "layerwise-cosine")
    alone = replace(
        alone,
        transforms=tuple(map(transform_named, transforms)),
        perturbed=lambda images, label: images + (label + 1) * 0.1,
    )
    expected = matching_gradient(alone, parameters, real.__getitem__, synthetic)
    found = matching_gradient(together(alone, at_once), parameters, real.__getitem__, synthetic)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_bfloat16_points_where_float32_points() -> None:
    network, parameters, _, real, _ = setting("convnet-w4-d2")
    single = {key: value.float() for key, value in parameters.items()}
    compared = compared_parameters(single)
    exact = parameter_gradients(network, single, compared, real[0].float(), 0)
    half = first_order_model(network, Backend("eager", "bfloat16"))
    rounded = parameter_gradients(half, single, compared, real[0].float(), 0)
    for e, r in zip(exact, rounded, strict=True):
        assert r.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(e.flatten(), r.flatten(), dim=0) > 0.99
    assert not all(torch.equal(e, r) for e, r in zip(exact, rounded, strict=True))
