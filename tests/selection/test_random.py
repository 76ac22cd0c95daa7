"""Random selection: the right number from each class, seeded, and remembered."""

import pytest
import torch

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator
from datacondense.selection.random import select_random
from tests.conftest import MakeSet


def test_each_class_gives_the_same_number_of_different_images(tiny: ImageSet) -> None:
    selected = select_random(tiny, 5, seed=0)
    assert selected.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    indices = selected.provenance["indices"]
    assert len(set(indices)) == 15
    assert torch.equal(selected.images, tiny.images[torch.tensor(indices)])
    assert torch.equal(tiny.labels[torch.tensor(indices)], selected.labels)


def test_each_class_has_its_own_generator(tiny: ImageSet) -> None:
    selected = select_random(tiny, 2, seed=7)
    expected = [
        12 * label + int(position)
        for label in range(3)
        for position in torch.randperm(12, generator=seeded_generator(7, "random selection", label))[:2]
    ]
    assert selected.provenance == {
        "method": "random",
        "settings": {"ipc": 2},
        "run": {"seed": 7},
        "source": {"name": "made", "fingerprint": tiny.fingerprint},
        "indices": expected,
    }


def test_the_seed_decides_what_is_selected(tiny: ImageSet) -> None:
    assert select_random(tiny, 2, 1).provenance == select_random(tiny, 2, 1).provenance
    assert select_random(tiny, 2, 1).provenance["indices"] != select_random(tiny, 2, 2).provenance["indices"]


@pytest.mark.parametrize("ipc", [0, 4])
def test_more_images_than_there_are_are_refused(make: MakeSet, ipc: int) -> None:
    with pytest.raises(
        InputError, match=f"ipc is {ipc}, but the class 'class 0' has 3 images to select from"
    ):
        select_random(make(per_class=3), ipc, 0)


@pytest.mark.parametrize("ipc", [[5, 5], [2, 2, 2, 2]], ids=str)
def test_numbers_of_other_classes_than_there_are_are_refused(tiny: ImageSet, ipc: list[int]) -> None:
    with pytest.raises(
        InputError,
        match=f"ipc has {len(ipc)} numbers, but there are 3 classes: give one for each, or one for all",
    ):
        select_random(tiny, ipc, 0)
