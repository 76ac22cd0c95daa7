"""Forgetting against a count by hand over the history of a training, its ties and its ends."""

import re
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.evaluation.forgetting_counts import ForgettingCounts
from datacondense.image_set import ImageSet
from datacondense.selection.forgetting import select_forgetting
from tests.conftest import MakeSet

NEVER = 10**6  # more than any count


def random_history(seed: int, epochs: int, num_images: int) -> Tensor:
    """Make up whether each image is right in each epoch; some images are hard, some never right."""
    generator = torch.Generator().manual_seed(seed)
    easy = torch.rand(num_images, generator=generator) * torch.randint(
        0, 3, (num_images,), generator=generator
    )
    return torch.rand(epochs, num_images, generator=generator) < easy


def by_hand(history: Tensor) -> list[int]:
    """Count by the definition, image by image, from a history `[epochs, N]`."""
    counts = []
    for answers in history.T.tolist():
        forgotten = sum(before and not after for before, after in pairwise(answers))
        counts.append(forgotten if any(answers) else NEVER)
    return counts


def counted(history: Tensor, batch_size: int, generator: torch.Generator) -> ForgettingCounts:
    """Show the history epoch by epoch, in batches of a random order."""
    counts = ForgettingCounts.none(history.shape[1])
    for right in history:
        for batch in torch.randperm(len(right), generator=generator).split(batch_size):
            counts = counts.seen(batch, right[batch])
    return counts


@pytest.mark.parametrize("seed", range(8))
def test_counts_and_selection_equal_those_by_hand(make: MakeSet, seed: int) -> None:
    train = make(per_class=30)
    history = random_history(seed, epochs=2 + seed, num_images=90)
    expected = by_hand(history)
    scores = counted(history, 16, torch.Generator().manual_seed(seed)).scores()
    never = max((count for count in expected if count != NEVER), default=0) + 1
    assert scores.tolist() == [never if count == NEVER else count for count in expected]
    for ipc in (1, 7, 30):
        wanted = [
            position
            for members in train.class_indices
            for position in sorted(members.tolist(), key=lambda i: (-expected[i], i))[:ipc]
        ]
        assert select_forgetting(train, ipc, scores).provenance["indices"] == wanted


def test_the_order_within_an_epoch_does_not_matter() -> None:
    history = random_history(0, epochs=6, num_images=50)
    one, other = (
        counted(history, size, torch.Generator().manual_seed(seed)) for seed, size in ((1, 50), (2, 7))
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_counts_are_never_changed_in_place() -> None:
    before = ForgettingCounts.none(3).seen(torch.tensor([0, 2]), torch.tensor([True, True]))
    kept = [tensor.clone() for tensor in before]
    after = before.seen(torch.tensor([2]), torch.tensor([False]))
    assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
    assert (after.right.tolist(), after.learned.tolist()) == ([True, False, False], [True, False, True])
    assert after.forgotten.tolist() == [0, 0, 1]


def test_an_image_that_was_never_learned_comes_before_one_that_was_forgotten_often() -> None:
    history = torch.tensor([[0, 1, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    assert counted(history, 3, torch.Generator()).scores().tolist() == [3, 2, 0]


def test_no_image_was_learned_before_training() -> None:
    assert ForgettingCounts.none(4).scores().tolist() == [1, 1, 1, 1]
    assert ForgettingCounts.none(0).scores().tolist() == []


def test_of_equally_forgettable_images_the_lowest_position_is_selected(tiny: ImageSet) -> None:
    assert select_forgetting(tiny, 2, torch.zeros(36)).provenance["indices"] == [0, 1, 12, 13, 24, 25]
    scores = torch.zeros(36, dtype=torch.int64)
    scores[[5, 9, 30]] = 1
    assert select_forgetting(tiny, 2, scores).provenance["indices"] == [5, 9, 12, 13, 30, 24]


def test_provenance_says_what_was_selected_from_what(tiny: ImageSet) -> None:
    selected = select_forgetting(tiny, 3, torch.arange(36))
    indices = [11, 10, 9, 23, 22, 21, 35, 34, 33]
    assert selected.provenance == {
        "method": "forgetting",
        "settings": {"ipc": 3},
        "source": {"name": "made", "fingerprint": tiny.fingerprint},
        "indices": indices,
    }
    assert torch.equal(selected.images, tiny.images[torch.tensor(indices)])
    assert selected.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


@pytest.mark.parametrize("shape", [(35,), (36, 1), ()])
def test_scores_of_another_shape_are_refused(tiny: ImageSet, shape: tuple[int, ...]) -> None:
    match = re.escape(f"Scores have shape {shape}, but 36 images need (36,): give one score for each image")
    with pytest.raises(InputError, match=match):
        select_forgetting(tiny, 1, torch.zeros(shape))


def test_scores_without_an_order_are_refused(tiny: ImageSet) -> None:
    scores = torch.zeros(36)
    scores[[7, 9]] = torch.nan
    match = r"The scores of 2 images are NaN \(the first at position 7\).*: repair what computed them"
    with pytest.raises(InputError, match=match):
        select_forgetting(tiny, 1, scores)


@pytest.mark.parametrize("ipc", [0, 13])
def test_more_images_than_there_are_are_refused(tiny: ImageSet, ipc: int) -> None:
    match = f"ipc is {ipc}, but the class 'class 0' has 12 images to select from: give 1 to 12"
    with pytest.raises(InputError, match=match):
        select_forgetting(tiny, ipc, torch.zeros(36))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counts_and_images_may_lie_on_another_device(tiny: ImageSet) -> None:
    history = random_history(3, epochs=5, num_images=36)
    expected = counted(history, 36, torch.Generator()).scores()
    counts = ForgettingCounts.none(36, "cuda")
    for right in history.cuda():
        counts = counts.seen(torch.arange(36, device="cuda"), right)
    assert torch.equal(counts.scores().cpu(), expected)
    record = select_forgetting(tiny, 2, expected).provenance
    assert select_forgetting(tiny, 2, counts.scores()).provenance == record
    assert select_forgetting(tiny.to("cuda"), 2, expected).provenance == record


def test_images_never_learned_can_come_last() -> None:
    counts = ForgettingCounts(
        torch.tensor([True, False, False, True]),
        torch.tensor([True, False, True, True]),
        torch.tensor([2, 0, 1, 0]),
    )
    assert counts.scores().tolist() == [2, 3, 1, 0]
    assert counts.scores("last").tolist() == [2, -1, 1, 0]
