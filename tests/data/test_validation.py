from dataclasses import replace

import pytest
import torch

from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from datacondense.image_set import ImageSet


def numbered(sizes: list[int]) -> ImageSet:
    """Build a set of unequal classes, interleaved, whose pixels are the positions."""
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    return ImageSet(
        images=torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1) / 1000,
        labels=labels,
        class_names=tuple(f"class {label}" for label in range(len(sizes))),
        mean=(0.1,),
        std=(0.2,),
        provenance={"source": {"name": "made"}},
    )


def positions(images: ImageSet) -> list[int]:
    return [round(value * 1000) for value in images.images.flatten().tolist()]


def test_parts_are_disjoint_and_cover_the_set() -> None:
    images = numbered([20, 7, 2])

    rest, validation = hold_out(images, 0.25, seed=0)

    assert sorted(positions(rest) + positions(validation)) == list(range(29))
    assert positions(rest) == sorted(positions(rest))
    assert torch.equal(rest.labels, images.labels[torch.tensor(positions(rest))])


def test_every_class_is_divided_alike() -> None:
    rest, validation = hold_out(numbered([20, 7, 2]), 0.25, seed=0)

    assert validation.class_sizes == (5, 2, 1)
    assert rest.class_sizes == (15, 5, 1)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_each_part_keeps_an_image_of_every_class(fraction: float) -> None:
    parts = hold_out(numbered([9, 2]), fraction, seed=0)

    assert all(min(part.class_sizes) == 1 for part in parts)


def test_seed_decides_which_images_are_held_out() -> None:
    images = numbered([30, 30])
    held = [positions(hold_out(images, 0.5, seed)[1]) for seed in (0, 0, 1)]

    assert held[0] == held[1]
    assert held[0] != held[2]


def test_parts_keep_normalisation_provenance_and_facts() -> None:
    images = replace(numbered([4, 4]), dataset="mnist", may_be_mirrored=False, augmentation="crop")
    rest, validation = hold_out(images, 0.5, seed=7)

    assert (rest.dataset, rest.may_be_mirrored, rest.augmentation) == ("mnist", False, "crop")
    assert (rest.mean, rest.std, rest.class_names) == ((0.1,), (0.2,), ("class 0", "class 1"))
    assert validation.provenance == {
        "source": {"name": "made"},
        "hold_out": {"part": "validation", "fraction": 0.5, "seed": 7},
    }
    assert rest.provenance["hold_out"]["part"] == "rest"


def test_a_class_of_one_image_cannot_be_divided() -> None:
    with pytest.raises(
        InputError, match=r"Class 'class 1' has 1 image\(s\), but holding out needs at least 2"
    ):
        hold_out(numbered([5, 1]), 0.2, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_the_fraction_is_checked(fraction: float) -> None:
    with pytest.raises(InputError, match=r"The fraction to hold out is .*between 0 and 1"):
        hold_out(numbered([5, 5]), fraction, seed=0)
