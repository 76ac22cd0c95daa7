"""Distances and transforms of the user's own, by name and as objects, against those of this library."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.matching.distances import check_distance, distance_named
from datacondense.matching.gradients import Objective, matching_gradient
from datacondense.matching.transforms import (
    Pair,
    RealGradients,
    Transform,
    parse_transform,
    transform_named,
    transformed,
)

SOURCE = """
from datacondense.matching.transforms import Pair, Transform

def own_squared(real, synthetic):
    return sum(((g - s) ** 2).sum() for g, s in zip(real, synthetic))

def own_mean_pool(gradients):
    return [g.mean((2, 3), keepdim=True) if g.dim() == 4 else g for g in gradients]

class Scale:
    def __call__(self, gradients):
        return [2 * g for g in gradients]

    @staticmethod
    def halve(gradients):
        return [g / 2 for g in gradients]

scale = Scale()
swap = Transform(
    name="own_matching:swap",
    apply=lambda pair: Pair(pair.real.map(lambda g: g[::-1]), pair.synthetic[::-1]),
)
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """A module of the user's in the current folder; called, it is what was imported."""
    (tmp_path / "own_matching.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_matching", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda: sys.modules["own_matching"]


def gradients(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 2, 3, 3), (4, 5), (4,))
    ]


def objective(distance: str, transforms: tuple[str, ...]) -> Objective:
    def model(parameters: dict[str, Tensor], images: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(images, parameters["weight"]).square().mean((2, 3))

    return Objective(
        model=model,
        real_model=model,
        compared=("weight",),
        distance=distance_named(distance),
        transforms=tuple(map(transform_named, transforms)),
    )


def test_own_distance_equals_the_same_one_of_the_library(own: Callable[[], ModuleType]) -> None:
    real, synthetic = gradients(1), gradients(2)
    expected = distance_named("squared")(real, synthetic)
    by_name = distance_named("own_matching:own_squared")
    assert distance_named(own().own_squared) is by_name
    torch.testing.assert_close(by_name(real, synthetic), expected, rtol=1e-14, atol=0)
    local = distance_named(lambda real, synthetic: 2 * by_name(real, synthetic))
    assert torch.equal(local(real, synthetic), 2 * by_name(real, synthetic))


def test_own_transform_equals_the_same_one_of_the_library(own: Callable[[], ModuleType]) -> None:
    real = RealGradients(gradients(1), parts=(gradients(3), gradients(4)), perturbed=gradients(5))
    expected = transformed([transform_named("mean-pool-1")], real, gradients(2))
    by_name = transform_named("own_matching:own_mean_pool")
    for given in (by_name, own().own_mean_pool, lambda g: own().own_mean_pool(g)):
        found = transformed([transform_named(given)], real, gradients(2))
        assert found.real.perturbed is not None
        assert expected.real.perturbed is not None
        for f, e in (
            (found.synthetic, expected.synthetic),
            (found.real.mean, expected.real.mean),
            (found.real.parts[1], expected.real.parts[1]),
            (found.real.perturbed, expected.real.perturbed),
        ):
            torch.testing.assert_close(list(f), list(e), rtol=1e-14, atol=1e-16)


def test_own_distance_and_transform_give_the_pixel_gradient_of_the_library(
    own: Callable[[], ModuleType],
) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = {"weight": torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)}
    real, synthetic = torch.randn(2, 2, 4, 1, 5, 5, generator=generator, dtype=torch.float64)
    found, expected = (
        matching_gradient(objective(distance, (transform,)), parameters, lambda label: real[label], synthetic)
        for distance, transform in (
            ("own_matching:own_squared", "own_matching:own_mean_pool"),
            ("squared", "mean-pool-1"),
        )
    )
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-14)


def test_transforms_of_any_form_are_taken(own: Callable[[], ModuleType]) -> None:
    swap = transform_named("own_matching:swap")
    assert transform_named(own().swap) is swap
    pair = swap.apply(Pair(RealGradients(gradients(1)), gradients(2)))
    assert [g.shape for g in pair.synthetic] == [g.shape for g in reversed(gradients(2))]
    for name, factor in (("own_matching:scale", 2), ("own_matching:Scale.halve", 0.5)):
        found = transformed([transform_named(name)], RealGradients(gradients(1)), gradients(2))
        torch.testing.assert_close(list(found.synthetic), [factor * g for g in gradients(2)])


def test_names_are_read_without_an_import(own: Callable[[], ModuleType]) -> None:
    check_distance("own_matching:absent")
    check_distance("absent_module:distance")
    assert str(parse_transform("absent_module:wiener")) == "absent_module:wiener"
    transform_named("own_matching:own_mean_pool")
    assert str(parse_transform(own().own_mean_pool)) == "own_matching:own_mean_pool"
    assert str(parse_transform(own().scale)) == "own_matching:Scale"
    assert str(parse_transform(replace(transform_named("wiener"), name="mine:first"))) == "mine:first"
    check_distance(own().own_squared)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "absent_module:first",
            r"the module absent_module cannot be imported .ModuleNotFoundError: .*install it",
        ),
        (
            "own_matching:absent",
            "the module own_matching has no 'absent': name a (distance|transform) that it defines",
        ),
        ("own_matching:Scale.absent", "has no 'Scale.absent'"),
        (
            "own_matching:number",
            "own_matching:number is of type int, which cannot be called: give a function or class",
        ),
        (
            "own_matching:",
            "'own_matching:' does not name a (distance|transform) of your own: write package.module:call",
        ),
        (
            "own_matching:a:b",
            "such as my_(distance|transform)s:first for first in my_(distance|transform)s.py",
        ),
    ],
)
def test_own_code_that_cannot_be_used_is_refused(
    own: Callable[[], ModuleType], name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        distance_named(name)
    with pytest.raises(InputError, match=message):
        transform_named(name)


@pytest.mark.parametrize("given", [3, None])
def test_objects_that_cannot_be_called_are_refused(given: object) -> None:
    with pytest.raises(
        InputError, match=r"which cannot be called: give a function or class that takes \(real grad"
    ):
        distance_named(given)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="which cannot be called: give a function or class that takes a list of grad"
    ):
        transform_named(given)  # type: ignore[arg-type]


def test_an_unknown_distance_is_answered_with_all_known_ones() -> None:
    with pytest.raises(
        InputError,
        match="no distance 'manhattan': choose one of layerwise-cosine, flat-cosine, squared, absolute, or give your",
    ):
        check_distance("manhattan")


def test_a_transform_is_left_as_it_is() -> None:
    transform = Transform(name="mine:nothing", apply=lambda pair: pair)
    assert transform_named(transform) is transform
