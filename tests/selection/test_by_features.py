"""What both selections by features share: the provenance, the order of the classes, and what they refuse."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.herding import herding_order, select_herding
from datacondense.selection.k_center import farthest_first, select_k_center
from tests.conftest import MakeSet

Select = Callable[[ImageSet, int, Tensor], ImageSet]

both = pytest.mark.parametrize(
    ("select", "method"), [(select_herding, "herding"), (select_k_center, "k-center")]
)


def features_of(images: ImageSet) -> Tensor:
    return images.pixels().flatten(1)


@both
def test_provenance_says_what_was_selected_from_what(tiny: ImageSet, select: Select, method: str) -> None:
    selected = select(tiny, 5, features_of(tiny))
    indices = selected.provenance["indices"]
    assert selected.provenance == {
        "method": method,
        "settings": {"ipc": 5},
        "source": {"name": "made", "fingerprint": tiny.fingerprint},
        "indices": indices,
    }
    assert selected.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert len(set(indices)) == 15
    assert torch.equal(selected.images, tiny.images[torch.tensor(indices)])
    assert torch.equal(tiny.labels[torch.tensor(indices)], selected.labels)


@both
def test_all_images_can_be_selected(tiny: ImageSet, select: Select, method: str) -> None:
    assert sorted(select(tiny, 12, features_of(tiny)).provenance["indices"]) == list(range(36)), method


@both
def test_the_order_of_images_and_classes_does_not_matter(tiny: ImageSet, select: Select, method: str) -> None:
    shuffle = torch.randperm(len(tiny), generator=torch.Generator().manual_seed(0))
    renumber = torch.tensor([2, 0, 1])
    shuffled = replace(tiny, images=tiny.images[shuffle], labels=renumber[tiny.labels[shuffle]])
    expected = select(tiny, 4, features_of(tiny)).images.unflatten(0, (3, 4))
    selected = select(shuffled, 4, features_of(shuffled))
    assert torch.equal(selected.images.unflatten(0, (3, 4))[renumber], expected), method
    assert torch.equal(shuffled.images[torch.tensor(selected.provenance["indices"])], selected.images)


@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_features_may_be_of_any_floating_type(
    tiny: ImageSet, select: Select, method: str, dtype: torch.dtype
) -> None:
    features = features_of(tiny).to(torch.bfloat16)  # 8 bits each, which all types hold
    expected = select(tiny, 3, features.float()).provenance
    assert select(tiny, 3, features.to(dtype)).provenance == expected, method


@pytest.mark.parametrize("order", [herding_order, farthest_first])
def test_features_stay_as_they_are(order: Callable[[Tensor, int], Tensor]) -> None:
    features = torch.arange(6.0, dtype=torch.float64).view(3, 2).requires_grad_()
    before = features.detach().clone()
    order(features, 2)
    assert torch.equal(features, before)


@both
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_may_lie_on_another_device(tiny: ImageSet, select: Select, method: str) -> None:
    features = features_of(tiny)
    expected = select(tiny, 3, features).provenance
    assert select(tiny, 3, features.cuda()).provenance == expected, method
    assert select(tiny.to("cuda"), 3, features).provenance == expected
    assert select(tiny.to("cuda"), 3, features.cuda()).provenance == expected


@both
@pytest.mark.parametrize("ipc", [0, 4])
def test_more_images_than_there_are_are_refused(make: MakeSet, select: Select, method: str, ipc: int) -> None:
    train = make(per_class=3)
    match = f"ipc is {ipc}, but the class 'class 0' has 3 images to select from: give 1 to 3"
    with pytest.raises(InputError, match=match):
        select(train, ipc, features_of(train))


@both
def test_a_small_class_is_refused_whichever_it_is(tiny: ImageSet, select: Select, method: str) -> None:
    train = tiny.subset(torch.arange(26))
    with pytest.raises(InputError, match="ipc is 3, but the class 'class 2' has 2 images to select from"):
        select(train, 3, features_of(train))


@both
@pytest.mark.parametrize("shape", [(35, 4), (36,), (36, 2, 2), (36, 0)])
def test_features_of_another_shape_are_refused(
    tiny: ImageSet, select: Select, method: str, shape: tuple[int, ...]
) -> None:
    match = re.escape(f"Features have shape {shape}, but 36 images need (36, D): give one row")
    with pytest.raises(InputError, match=match):
        select(tiny, 1, torch.zeros(shape))


@both
def test_features_of_whole_numbers_are_refused(tiny: ImageSet, select: Select, method: str) -> None:
    with pytest.raises(
        InputError, match=r"Features are torch.uint8, .* convert them with features.float\(\)"
    ):
        select(tiny, 1, tiny.images.flatten(1))


@both
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e200])
def test_features_that_are_not_finite_are_refused(
    tiny: ImageSet, select: Select, method: str, value: float
) -> None:
    features = features_of(tiny).double()
    features[7, 3] = features[9, 0] = value
    match = r"features of 2 images are NaN, infinite or beyond .* \(the first at position 7\).*: repair these"
    with pytest.raises(InputError, match=match):
        select(tiny, 1, features)
