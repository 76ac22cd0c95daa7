"""What the sampler draws for a run: each a function of the seed, a purpose and an index."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense import (
    DistributionMatchingConfig,
    GradientMatchingConfig,
    ImageSet,
    InputError,
    RunConfig,
    build_network,
    condense,
)
from datacondense.condensation.sampler import Sampler
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

Sample = Callable[[int, int], Tensor]
KINDS = ("network", "noise", "real", "all", "generator", "view")


def samples(train: ImageSet, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Sample]:
    """Return everything that the sampler draws, as functions of an index of two."""
    sampler, network = Sampler(train, seed, dtype), build_network("mlp", train.image_shape, 3)
    images = train.normalised(torch.arange(4)).to(sampler.dtype)

    def parameters(outer: int, inner: int) -> Tensor:
        return sampler.network(network, "network", 10 * outer + inner)["1.weight"]

    return {
        "network": parameters,
        "noise": lambda *index: sampler.noise((4, 2), "noise", *index),
        "real": lambda *index: sampler.real(1, 6, "real", *index),
        "all": lambda *index: sampler.real_of_all(6, "real", 10 * index[0] + index[1])[0],
        "generator": lambda *index: torch.rand(3, generator=sampler.generator("order", *index)).to(
            sampler.dtype
        ),
        "view": lambda *index: sampler.view("dsa:rotate", "view", *index)(1, images),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_samples_depend_on_seed_and_index_alone(tiny: ImageSet, kind: str) -> None:
    sample = samples(tiny, 4)[kind]
    first = sample(2, 1)
    assert torch.equal(sample(2, 1), first)
    assert torch.equal(samples(tiny, 4)[kind](2, 1), first)
    for other in (sample(1, 2), sample(2, 0), sample(3, 1), samples(tiny, 5)[kind](2, 1)):
        assert not torch.equal(other, first)
    exact = samples(tiny, 4, torch.float64)[kind](2, 1)
    assert (first.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(exact.float(), first, rtol=1e-5, atol=1e-5)


def test_samples_for_different_purposes_differ(tiny: ImageSet) -> None:
    sampler, network = Sampler(tiny, 4, torch.float32), build_network("mlp", tiny.image_shape, 3)
    assert not torch.equal(sampler.noise((3,), "a", 0), sampler.noise((3,), "b", 0))
    assert not torch.equal(sampler.real(0, 4, "a", 0), sampler.real(0, 4, "b", 0))
    one, other = (
        sampler.network(network, purpose, 0)["1.weight"] for purpose in ("network", "probe network")
    )
    assert not torch.equal(one, other)
    assert torch.equal(one, network.draw(seeded_generator(4, "network", 0))["1.weight"])


@pytest.mark.parametrize("size", [6, 30])
def test_a_class_never_gives_an_image_twice(make: MakeSet, size: int) -> None:
    train = make(per_class=6)
    sampler = Sampler(train, 4, torch.float64)
    for label in range(3):
        own = train.normalised(train.class_indices[label]).double()
        drawn = sampler.real(label, size, "real", 0)
        assert sorted(map(tuple, drawn.flatten(1).tolist())) == sorted(map(tuple, own.flatten(1).tolist()))


def test_batches_of_all_classes_take_every_image_once_in_each_epoch(make: MakeSet) -> None:
    train = make(per_class=6)  # 18 images: batches of 8, 8 and 2
    sampler = Sampler(train, 4, torch.float32)
    epochs = []
    for epoch in range(2):
        batches = [sampler.real_of_all(8, "real", 3 * epoch + number) for number in range(3)]
        assert [len(labels) for _, labels in batches] == [8, 8, 2]
        images, labels = map(torch.cat, zip(*batches, strict=True))
        places = [int((train.normalised() == image).flatten(1).all(1).nonzero()) for image in images]
        assert sorted(places) == list(range(18))
        assert torch.equal(labels, train.labels[places])
        epochs.append(places)
    assert epochs[0] != epochs[1]
    everything, _ = sampler.real_of_all(100, "real", 7)
    assert len(everything) == 18


@pytest.mark.parametrize("strategy", ["dsa:rotate", "idc:color-rotate-cutout"])
def test_a_view_changes_all_images_of_a_class_alike(tiny: ImageSet, strategy: str) -> None:
    view = Sampler(tiny, 4, torch.float32).view(strategy, "view", 0)
    images = tiny.normalised()
    together = view(2, images)
    torch.testing.assert_close(torch.cat([view(2, images[:5]), view(2, images[5:])]), together)
    assert not torch.allclose(view(1, images), together, atol=1e-3)
    still = Sampler(tiny, 4, torch.float32).view("none", "view", 0)
    assert still(2, images) is images


@pytest.mark.parametrize(("network", "measured"), [("convnet-w4-d1-bn", True), ("convnet-w4-d1", False)])
def test_batch_norm_is_measured_on_real_images(tiny: ImageSet, network: str, measured: bool) -> None:
    sampler, structure = Sampler(tiny, 4, torch.float64), build_network(network, tiny.image_shape, 3)
    parameters = sampler.network(structure, "network", 0)
    found = sampler.frozen_buffers(structure, parameters, 2, 1)
    images = torch.cat([sampler.real(label, 16, "statistics", 2, 1) for label in range(3)])
    expected = structure.measure_statistics(parameters, images)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert bool(found) is measured
    other = sampler.frozen_buffers(structure, parameters, 2, 1, purpose="probe statistics")
    assert any(not torch.equal(found[name], tensor) for name, tensor in other.items()) is measured


class Projected(nn.Module):
    """A network of one's own with a fixed projection and a number as buffers."""

    projection: Tensor
    number: Tensor

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.register_buffer("projection", torch.eye(8, prod(image_shape)))
        self.register_buffer("number", torch.tensor(2))
        self.last = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        seen: Tensor = self.last(F.linear(images.flatten(1), self.projection))
        return seen * self.number


def test_buffers_of_ones_own_have_the_type_of_the_run(tiny: ImageSet) -> None:
    sampler, network = Sampler(tiny, 4, torch.float64), build_network(Projected, tiny.image_shape, 3)
    parameters = sampler.network(network, "network", 0)
    found = sampler.frozen_buffers(network, parameters, 0, 0)
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "projection": torch.float64,
        "number": torch.int64,
    }
    config = GradientMatchingConfig(network=Projected, real_batch=4, precision="float64")
    assert condense(tiny, config, RunConfig(iterations=1)).images.isfinite().all()


SMALL_CLASSES = {
    "plain": GradientMatchingConfig(),
    "collective": GradientMatchingConfig(class_collective=True),
    "siamese": GradientMatchingConfig(siamese="dsa:color-flip"),
    "sub-batches": GradientMatchingConfig(transform=("wiener:3",)),
    "features": DistributionMatchingConfig(siamese="none"),
}


@pytest.mark.parametrize("name", SMALL_CLASSES)
def test_a_class_smaller_than_the_batch_counts_by_all_of_its_images(make: MakeSet, name: str) -> None:
    """A class of 3 images has the gradient of one that has each of them twice."""
    images = make(per_class=6)
    small = images.subset(torch.tensor([0, 1, 2, *range(6, 18)]))
    doubled = images.subset(torch.tensor([0, 1, 2, 0, 1, 2, *range(6, 18)]))
    config = replace(
        SMALL_CLASSES[name], network="convnet-w4-d1", real_batch=6, precision="float64", image_lr=0.5
    )
    if name == "sub-batches":  # which divide a batch, and see its order
        assert isinstance(config, GradientMatchingConfig)
        too_many = replace(config, transform=("wiener:4",))
        with pytest.raises(
            InputError, match="4 sub-batches, but the smallest real batch has 3: give a larger"
        ):
            condense(small, too_many, RunConfig(iterations=1))
        condensed = condense(small, config, RunConfig(iterations=2))
        assert bool(condensed.images.isfinite().all())
        return
    one, other = (condense(train, config, RunConfig(seed=2, iterations=2)) for train in (small, doubled))
    torch.testing.assert_close(one.images, other.images, rtol=1e-6, atol=1e-6)
    started = condense(small, replace(config, image_lr=1e-9), RunConfig(seed=2, iterations=2))
    assert not torch.allclose(one.images[:1], started.images[:1], atol=1e-3)
