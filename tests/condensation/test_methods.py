"""The table of methods: each one runs, tells its name, continues after a break, and draws from streams alone."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datacondense.condensation.config import MethodConfig, RunConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.method import Sampler
from datacondense.condensation.methods import ABBREVIATIONS, METHODS, method_name
from datacondense.condensation.state import Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

PUBLISHED_ITERATIONS = {
    "gradient-matching": 1000,
    "siamese-matching": 1000,
    "distribution-matching": 20000,
    "parameter-matching": 1000,
    "dataset-distillation": 23600,
}
RECORDED = {name: name for name in METHODS} | {"siamese-matching": "gradient-matching"}
"""Siamese matching is gradient matching with other defaults: one run, whichever way it was asked for."""
RUN = RunConfig(seed=3, iterations=2, checkpoint_every=0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def config(name: str, network: str = "convnet-w4-d1") -> MethodConfig:
    return METHODS[name](network=network, real_batch=4)


def test_the_table_is_whole() -> None:
    assert set(METHODS) == set(PUBLISHED_ITERATIONS)
    assert set(ABBREVIATIONS.values()) < set(METHODS)
    assert len({type(config(name)) for name in METHODS}) == len(METHODS)


@pytest.mark.parametrize("network", ["convnet-w4-d1", "convnet-w4-d1-bn"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_continues_after_a_break(
    tiny: ImageSet, tmp_path: Path, name: str, network: str
) -> None:
    method = config(name, network)
    before = torch.random.get_rng_state()
    full = condense(tiny, method, RUN, directory=tmp_path / "whole")
    assert torch.equal(torch.random.get_rng_state(), before)

    def kill(progress: Progress) -> None:
        if progress.step == (1, 0):
            raise Killed

    with pytest.raises(Killed):
        condense(tiny, method, RUN, directory=tmp_path / "broken", observer=kill)
    condense(tiny, method, RUN, directory=tmp_path / "broken", resume=True)
    broken, unbroken = (tmp_path / folder / "condensed.safetensors" for folder in ("broken", "whole"))
    assert broken.read_bytes() == unbroken.read_bytes()
    assert full.provenance["method"] == method.name == RECORDED[name]
    settings = full.provenance["settings"]
    assert set(settings) == {known.name for known in fields(method)}
    assert None not in {value for key, value in settings.items() if key != "graph_memory"}
    assert settings["network"] == network
    assert full.provenance["iterations_done"] == 2
    assert full.labels.tolist() == [0, 1, 2]
    assert bool(full.images.isfinite().all())
    start = method.build(tiny, RUN.seed).init().images.flatten(0, 1)
    assert not torch.allclose(full.normalised(), start, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_the_first_state_is_the_same_at_every_call(tiny: ImageSet, name: str) -> None:
    method = config(name).build(tiny, 5)
    first, second, other = method.init(), method.init(), config(name).build(tiny, 6).init()
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)
    # A step depends on the state and its step, not on the steps before it.
    later = method.step(first, Step(7, 0))
    fresh = config(name).build(tiny, 5).step(second, Step(7, 0))
    assert torch.equal(later[0].images, fresh[0].images)
    assert later[1] == fresh[1]


@pytest.mark.parametrize("name", METHODS)
def test_runs_are_as_long_as_published_where_nothing_else_is_said(tiny: ImageSet, name: str) -> None:
    condensed = condense(tiny, config(name), RunConfig(time_limit="0.01s"))
    assert condensed.provenance["run"]["iterations"] == PUBLISHED_ITERATIONS[name]
    assert condensed.provenance["iterations_done"] < 100


@pytest.mark.filterwarnings("ignore:3 of 3 classes have fewer images than the real batch:UserWarning")
def test_without_a_method_it_is_gradient_matching(tiny: ImageSet) -> None:
    record = condense(tiny, run=RunConfig(time_limit="0.01s")).provenance
    assert record["method"] == "gradient-matching"
    assert record["settings"]["siamese"] == "none"


@pytest.mark.filterwarnings("ignore:3 of 3 classes have fewer images than the real batch:UserWarning")
@pytest.mark.parametrize("name", METHODS)
def test_classes_may_be_smaller_than_the_default_real_batch(tiny: ImageSet, name: str) -> None:
    method = METHODS[name](network="mlp").build(tiny, 0)
    state, loss = method.step(method.init(), Step(0, 0))
    assert bool(state.images.isfinite().all())
    assert loss > 0


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("dc", "gradient-matching"),
        ("dsa", "siamese-matching"),
        ("dm", "distribution-matching"),
        ("dd", "dataset-distillation"),
        *((name, name) for name in METHODS),
    ],
)
def test_names_and_abbreviations(given: str, spelled: str) -> None:
    assert method_name(given) == spelled


@pytest.mark.parametrize("name", ["foo", "DC", ""])
def test_an_unknown_name_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(
        InputError,
        match=rf"^There is no method '{name}': choose from gradient-matching \(dc\), siamese-matching \(dsa\), "
        r"distribution-matching \(dm\), parameter-matching, dataset-distillation \(dd\)\.$",
    ):
        method_name(name)


PlotKind = Callable[[int, int], Tensor]
KINDS = ("network", "noise", "real", "replaced", "generator", "view")


def drawings(train: ImageSet, seed: int, precision: str = "float32") -> dict[str, PlotKind]:
    """Give everything that can be drawn as functions of an index of two."""
    iterations, network = Sampler(train, seed, precision), build_network("mlp", train.image_shape, 3)
    images = train.normalised(torch.arange(4)).to(iterations.dtype)

    def parameters(draw: int, step: int) -> Tensor:
        return iterations.network(network, "network", 10 * draw + step)["1.weight"]

    return {
        "network": parameters,
        "noise": lambda *index: iterations.noise((4, 2), "noise", *index),
        "real": lambda *index: iterations.real(1, 6, "real", *index),
        "replaced": lambda *index: iterations.real(1, 40, "real", *index),
        "generator": lambda *index: torch.rand(3, generator=iterations.generator("order", *index)).to(
            iterations.dtype
        ),
        "view": lambda *index: iterations.view("dsa:rotate", "view", *index)(1, images),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_seed_and_index_alone(tiny: ImageSet, kind: str) -> None:
    draw = drawings(tiny, 4)[kind]
    first = draw(2, 1)
    assert torch.equal(draw(2, 1), first)
    assert torch.equal(drawings(tiny, 4)[kind](2, 1), first)
    for other in (draw(1, 2), draw(2, 0), draw(3, 1), drawings(tiny, 5)[kind](2, 1)):
        assert not torch.equal(other, first)
    exact = drawings(tiny, 4, "float64")[kind](2, 1)
    assert (first.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(exact.float(), first, rtol=1e-5, atol=1e-5)


def test_purposes_are_apart(tiny: ImageSet) -> None:
    iterations, network = Sampler(tiny, 4, "float32"), build_network("mlp", tiny.image_shape, 3)
    assert not torch.equal(iterations.noise((3,), "a", 0), iterations.noise((3,), "b", 0))
    assert not torch.equal(iterations.real(0, 4, "a", 0), iterations.real(0, 4, "b", 0))
    one, other = (
        iterations.network(network, purpose, 0)["1.weight"] for purpose in ("network", "probe network")
    )
    assert not torch.equal(one, other)
    assert torch.equal(one, network.draw(seeded_generator(4, "network", 0))["1.weight"])


def test_real_images_are_of_the_class_and_repeated_only_where_they_must(make: MakeSet) -> None:
    train = make(per_class=6)
    iterations = Sampler(train, 4, "float32")
    for label in range(3):
        own = {tuple(image.tolist()) for image in train.normalised(train.class_indices[label]).flatten(1)}
        full, many = (iterations.real(label, size, "real", 0).flatten(1).tolist() for size in (6, 30))
        assert set(map(tuple, full)) == own
        assert len(many) == 30
        assert set(map(tuple, many)) <= own


def test_a_view_changes_all_images_of_a_class_alike(tiny: ImageSet) -> None:
    view = Sampler(tiny, 4, "float32").view("dsa:rotate", "view", 0)
    images = tiny.normalised()
    together = view(2, images)
    torch.testing.assert_close(torch.cat([view(2, images[:5]), view(2, images[5:])]), together)
    assert not torch.allclose(view(1, images), together, atol=1e-3)
    still = Sampler(tiny, 4, "float32").view("none", "view", 0)
    assert still(2, images) is images


@pytest.mark.parametrize(("network", "measured"), [("convnet-w4-d1-bn", True), ("convnet-w4-d1", False)])
def test_batch_norm_is_measured_on_real_images(tiny: ImageSet, network: str, measured: bool) -> None:
    iterations, structure = Sampler(tiny, 4, "float64"), build_network(network, tiny.image_shape, 3)
    parameters = iterations.network(structure, "network", 0)
    found = iterations.frozen_buffers(structure, parameters, 2, 1)
    images = torch.cat([iterations.real(label, 16, "statistics", 2, 1) for label in range(3)])
    expected = structure.measure_statistics(parameters, images)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert bool(found) is measured
    other = iterations.frozen_buffers(structure, parameters, 2, 1, purpose="probe statistics")
    assert any(not torch.equal(found[name], tensor) for name, tensor in other.items()) is measured


@pytest.mark.parametrize("field", ["published_iterations", "name"])
def test_the_base_leaves_what_methods_say_to_them(field: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(MethodConfig(), field)


def test_settings_of_all_methods_are_checked_for_all(tiny: ImageSet) -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "ipc": (0, "ipc is 0, but must be 1 or more"),
        "real_batch": (0, "real_batch is 0, but must be 1 or more"),
        "image_lr": (-1.0, "image_lr is -1.0, but a learning rate must be a number above 0"),
        "start": ("zeros", "start is 'zeros', but images begin as 'noise' or as 'real' images"),
        "precision": ("half", "precision is 'half': choose one of"),
        "engine": ("quick", "engine is 'quick'"),
    }
    for name in METHODS:
        for field, (value, message) in wrong.items():
            with pytest.raises(InputError, match=message):
                METHODS[name](**{field: value})
        with pytest.raises(InputError, match="There is no network 'nonet': choose one of"):
            config(name, "nonet").resolved().build(tiny, 0)
