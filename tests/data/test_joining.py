"""Some classes of a set, and several sets as one."""

from dataclasses import replace

import pytest
import torch

from datacondense.data.joining import joined, numbered, only_classes
from datacondense.data.sources import load
from datacondense.errors import InputError
from tests.conftest import make_set

DIGITS = load("digits").train
ODD = only_classes(DIGITS, ("7", "1", "3"))


def test_classes_are_numbered_as_they_are_named() -> None:
    assert ODD.class_names == ("7", "1", "3")
    for label, digit in enumerate((7, 1, 3)):
        assert torch.equal(ODD.images[ODD.labels == label], DIGITS.images[DIGITS.labels == digit])


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(InputError, match=r"no class 'ten' among 0, 1, .*: correct its name"):
        only_classes(DIGITS, ("1", "ten"))


def test_images_are_joined_by_the_names_of_their_classes() -> None:
    other = only_classes(DIGITS, ("3", "4"))
    both = joined([ODD, other])
    assert both.class_names == ("7", "1", "3", "4")
    assert both.labels.tolist() == [*ODD.labels.tolist(), *(other.labels + 2).tolist()]
    assert torch.equal(both.images, torch.cat([ODD.images, other.images]))
    assert both.images.dtype == torch.uint8
    turned = joined([ODD, other], ("4", "3", "1", "7"))
    assert [turned.class_names[label] for label in turned.labels] == [
        both.class_names[n] for n in both.labels
    ]


def test_learned_pixels_keep_their_values_beside_read_ones() -> None:
    learned = replace(ODD, images=ODD.pixels() * 1.5 - 0.2)
    both = joined([ODD, learned])
    assert torch.equal(both.images[: len(ODD)], ODD.pixels())
    assert torch.equal(both.images[len(ODD) :], learned.images)


def test_the_scale_is_that_of_the_first() -> None:
    other = replace(ODD, mean=(0.9,), std=(0.1,))
    assert (joined([other, ODD]).mean, joined([ODD, other]).mean) == ((0.9,), ODD.mean)


def test_sets_of_other_shapes_are_not_joined() -> None:
    small = replace(ODD, images=ODD.images[..., :4])
    with pytest.raises(InputError, match=r"shapes \(1, 8, 8\) and \(1, 8, 4\) .* --resize and --channels"):
        joined([ODD, small])


def test_classes_are_numbered_among_others() -> None:
    among = numbered(ODD, ("0", "1", "3", "7"))
    assert torch.equal(among.labels, torch.tensor([3, 1, 2])[ODD.labels])
    assert among.class_names == ("0", "1", "3", "7")


def test_soft_labels_are_joined_by_the_names_of_their_classes() -> None:
    first = replace(
        make_set(num_classes=2, per_class=1), soft_labels=torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    )
    other = replace(make_set(num_classes=2, per_class=1), class_names=("class 1", "other"))
    both = joined([first, other])
    assert both.class_names == ("class 0", "class 1", "other")
    assert both.targets.tolist() == [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    turned = joined([first], ("class 1", "class 0"))
    assert turned.targets.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert only_classes(first, ("class 1",)).soft_labels is None


def test_sets_of_different_factors_are_joined_as_networks_see_them() -> None:
    plain = make_set(per_class=1)
    tiled = replace(plain, factor=2)
    both = joined([tiled, tiled])
    assert (both.factor, len(both)) == (2, 6)
    mixed = joined([tiled, plain])
    assert (mixed.factor, mixed.class_sizes) == (1, (5, 5, 5))
    torch.testing.assert_close(mixed.images[:12], tiled.decoded().images)
