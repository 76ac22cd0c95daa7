"""Classes joined: against explicit loops, against finite differences, by hand, and however the classes are grouped."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from datacondense.matching import reference
from datacondense.matching.class_collective import class_collective_gradient
from datacondense.matching.distances import DISTANCES, distance_named
from datacondense.matching.gradients import Objective, compared_parameters, matching_gradient
from datacondense.matching.transforms import transform_named
from datacondense.networks.builder import build_network
from datacondense.networks.network import Parameters

K, S, B = 3, 2, 6  # six real images are no multiple of four sub-batches
GROUPS = [(1, 1), (2, 1), (1, 2), (2, 3), (K, K), (K + 2, K + 2)]
CHAINS: list[tuple[str, ...]] = [
    (),
    ("max-pool-1",),
    ("keep-magnitude:0.3",),
    ("keep-stable:0.3",),
    ("keep-snr:0.77",),
    ("wiener:4",),
    ("wiener:3", "abs-max-pool-2", "keep-sensitive-global:0.2"),
]


class Setting(NamedTuple):
    """One network with its images, all in float64.

    Attributes:
        objective: What is matched, and how.
        parameters: All parameters by name.
        real: Real images `[K, B, C, H, W]`.
        synthetic: Synthetic images `[K, S, C, H, W]`.
    """

    objective: Objective
    parameters: Parameters
    real: Tensor
    synthetic: Tensor

    def joint(self, synthetic: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute by the fast path."""
        images = self.synthetic if synthetic is None else synthetic
        return class_collective_gradient(self.objective, self.parameters, self.real.__getitem__, images)

    def grouped(self, classes_at_once: int, real_classes_at_once: int = 1) -> "Setting":
        """Compute other numbers of classes at once."""
        at_once = {"classes_at_once": classes_at_once, "real_classes_at_once": real_classes_at_once}
        return self._replace(objective=replace(self.objective, **at_once))  # type: ignore[arg-type]


def setting(
    name: str,
    *,
    compare: str = "weights",
    distance: str = "layerwise-cosine",
    transforms: Sequence[str] = (),
) -> Setting:
    """Draw one network and its images."""
    generator = torch.Generator().manual_seed(5)
    network = build_network(name, (2, 8, 8), K)
    parameters = {key: value.double() for key, value in network.draw(generator).items()}
    real, noise, synthetic = (
        torch.randn(K, n, 2, 8, 8, generator=generator, dtype=torch.float64) for n in (B, B, S)
    )
    model = partial(network, buffers=network.measure_statistics(parameters, real.flatten(0, 1)))
    objective = Objective(
        model=model,
        real_model=model,
        compared=compared_parameters(parameters, compare),
        distance=distance_named(distance),
        transforms=tuple(transform_named(name) for name in transforms),
        perturbed=lambda images, label: images + 0.1 * noise[label, : len(images)],
    )
    return Setting(objective, parameters, real, synthetic)


def by_loops(case: Setting, distance: str, transforms: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Compute by the explicit loops."""
    objective = case.objective
    return reference.matching_gradient(
        objective.model,
        dict(case.parameters),
        objective.compared,
        case.real,
        case.synthetic,
        kind=distance,
        transforms=transforms,
        perturbed=objective.perturbed,
        joint=True,
    )


def assert_equal(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Hold distances and gradients equal up to rounding."""
    assert bool(expected[1].any())
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("name", "compare"),
    [
        ("convnet-w4-d2", "weights"),
        ("convnet-w4-d2-swish-nonorm", "all"),
        ("convnet-w4-d2-bn", "weights"),
        ("lenet", "weights"),
        ("mlp", "all"),
    ],
)
def test_joined_classes_equal_explicit_loops(name: str, compare: str, distance: str) -> None:
    case = setting(name, compare=compare, distance=distance)
    expected = by_loops(case, distance)
    assert expected[0].shape == (1,)
    for classes_at_once, real_classes_at_once in GROUPS:
        assert_equal(case.grouped(classes_at_once, real_classes_at_once).joint(), expected)


@pytest.mark.parametrize("name", ["convnet-w4-d2", "convnet-w4-d2-bn"])
@pytest.mark.parametrize("transforms", CHAINS[1:], ids="+".join)
def test_transforms_of_joined_classes_equal_explicit_loops(transforms: tuple[str, ...], name: str) -> None:
    case = setting(name, transforms=transforms)
    expected = by_loops(case, "layerwise-cosine", transforms)
    for classes_at_once, real_classes_at_once in GROUPS:
        assert_equal(case.grouped(classes_at_once, real_classes_at_once).joint(), expected)


# Smooth activations only, and no ranking: a finite difference across a kink is no derivative.
@pytest.mark.parametrize("transforms", [(), ("mean-pool-1",), ("wiener:4",)], ids="+".join)
@pytest.mark.parametrize("name", ["convnet-w4-d2-swish", "convnet-w4-d2-swish-bn", "convnet-w4-d1-sigmoid"])
@pytest.mark.parametrize("classes_at_once", [1, 2, K])
def test_the_gradient_equals_finite_differences(
    classes_at_once: int, name: str, transforms: tuple[str, ...]
) -> None:
    case = setting(name, compare="all", transforms=transforms).grouped(classes_at_once)
    _, gradient = case.joint()
    generator = torch.Generator().manual_seed(6)
    direction = torch.randn(case.synthetic.shape, generator=generator, dtype=torch.float64)
    # Central differences err by step² and by 1e-16 / step: near 1e-5 both are about 1e-10.
    step = 1e-5
    up, down = (case.joint(case.synthetic + sign * step * direction)[0] for sign in (1, -1))
    slope = float(up - down) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-8)


def test_the_distance_is_that_of_the_mean_and_not_the_mean_of_the_distances() -> None:
    case = setting("convnet-w4-d2", distance="squared")
    joint, gradient = case.joint()
    apart, other = matching_gradient(case.objective, case.parameters, case.real.__getitem__, case.synthetic)
    # The square of a mean is below the mean of the squares.
    assert 0 < float(joint) < 0.9 * float(apart.mean())
    assert not torch.allclose(gradient, other, rtol=0.1)


@pytest.mark.parametrize("classes_at_once", [1, 2, K])
def test_what_all_classes_have_in_common_cancels(classes_at_once: int) -> None:
    # Logits W x with W = 0: the mean gradient has the rows (mean - x_j) / K, x_j being the mean image of class j.
    generator = torch.Generator().manual_seed(8)
    real, synthetic = (torch.randn(K, n, 1, 2, 2, generator=generator, dtype=torch.float64) for n in (B, S))
    objective = Objective(
        model=lambda parameters, images: images.flatten(1) @ parameters["W"].T,
        real_model=lambda parameters, images: images.flatten(1) @ parameters["W"].T,
        compared=("W",),
        distance=distance_named("squared"),
        classes_at_once=classes_at_once,
    )
    case = Setting(objective, {"W": torch.zeros(K, 4, dtype=torch.float64)}, real, synthetic)
    own = [images.mean(1) - images.mean((0, 1)) for images in (synthetic, real)]
    difference = own[0] - own[1]
    distance, gradient = case.joint()
    torch.testing.assert_close(distance[0], difference.square().sum() / K**2)
    torch.testing.assert_close(gradient, (2 * difference / K**2 / S)[:, None].expand_as(synthetic))
    common = torch.randn(1, 2, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(case.joint(synthetic + 9 * common), (distance, gradient))


@pytest.mark.parametrize("classes_at_once", [1, K])
def test_images_without_any_signal_stay(classes_at_once: int) -> None:
    case = setting("convnet-w4-d2", transforms=["keep-snr:1e30"]).grouped(classes_at_once)
    distance, gradient = case.joint()
    assert bool(distance.isfinite().all())
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize(("classes_at_once", "real_classes_at_once"), GROUPS)
def test_each_real_batch_is_drawn_once_and_no_graph_is_left(
    classes_at_once: int, real_classes_at_once: int
) -> None:
    case = setting("convnet-w4-d2").grouped(classes_at_once, real_classes_at_once)
    calls: list[int] = []

    def real_batch(label: int) -> Tensor:
        calls.append(label)
        return case.real[label]

    before = case.synthetic.clone()
    found = class_collective_gradient(case.objective, case.parameters, real_batch, case.synthetic)
    assert calls == list(range(K))
    assert torch.equal(case.synthetic, before)
    tensors = (*found, case.synthetic, *case.parameters.values())
    assert not any(tensor.requires_grad for tensor in tensors)
