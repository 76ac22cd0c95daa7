import pytest
import torch
from torch import Tensor

from datacondense.augment.cutmix import _box, mixed
from datacondense.augment.strategies import augmented, changed


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def single_valued(number: int = 5, height: int = 6, width: int = 8) -> Tensor:
    """Image n is n everywhere, so that every pixel tells where it comes from."""
    return torch.arange(number, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 2, height, width)


@pytest.mark.parametrize("soft", [False, True])
def test_labels_are_mixed_by_the_area_that_was_pasted(soft: bool) -> None:
    images, labels = single_valued(), torch.tensor([2, 0, 1, 1, 0])
    own = torch.eye(3, dtype=torch.float64)[labels]
    if soft:
        own = torch.rand(5, 3, generator=generator(), dtype=torch.float64)
        own /= own.sum(1, keepdim=True)
    for seed in range(40):
        given = own.float() if soft else labels
        found, targets = mixed(images, given, 3, generator(seed), 1.0)
        # The pixels of both channels alike, and by their values the share of every image in every other one.
        assert torch.equal(found[:, 0], found[:, 1])
        shares = (found[:, :1].flatten(1)[..., None] == torch.arange(5)).double().mean(1)
        torch.testing.assert_close(targets, shares @ own, rtol=1e-6, atol=1e-6)
        assert targets.dtype == images.dtype


def test_one_box_in_one_order_serves_the_batch() -> None:
    images, labels = single_valued(), torch.zeros(5, dtype=torch.int64)
    orders = set()
    for seed in range(40):
        found = mixed(images, labels, 1, generator(seed), 1.0)[0][:, 0]
        boxes = found != images[:, 0]
        rows, columns = (boxes.any(0).any(axis) for axis in (1, 0))
        inside = found[:, rows][:, :, columns].flatten(1)
        if boxes.any():  # a permutation, each image from one other; a box that is a rectangle
            assert (inside == inside[:, :1]).all()
            assert sorted(inside[:, 0].tolist()) == list(range(5))
            orders.add(tuple(inside[:, 0].tolist()))
    assert len(orders) > 10


@pytest.mark.parametrize(
    ("kept", "down", "right", "expected"),
    [
        (0.75, 0.5, 0.5, (2, 6, 4, 12)),  # a quarter of 8 × 16, in the middle
        (0.0, 0.5, 0.5, (0, 8, 0, 16)),  # all
        (0.0, 0.0, 0.99, (0, 4, 7, 16)),  # cut off at two borders
        (1.0, 0.5, 0.5, (4, 4, 8, 8)),  # nothing
        (0.64, 0.26, 0.0, (0, 4, 0, 4)),  # sides of 4.8 and 9.6, whose whole halves are 2 and 4
    ],
)
def test_the_box_is_as_published(
    kept: float, down: float, right: float, expected: tuple[int, int, int, int]
) -> None:
    rows, columns = _box(kept, down, right, 8, 16)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


def test_a_batch_is_mixed_as_often_as_it_should_be() -> None:
    images, labels, random = single_valued(3, 64, 64), torch.tensor([0, 1, 1]), generator()
    unmixed, shares = 0, []
    for _ in range(2000):
        found, targets = mixed(images, labels, 2, random, 0.25)
        unmixed += found is images
        if found is not images:
            shares.append(float((found[:, 0] != images[:, 0]).double().mean()))
        else:
            assert targets.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert unmixed == pytest.approx(1500, abs=80)
    # An order moves 2/3 of the images. Of a side s the border leaves s - s²/4 on the average, and s² is uniform.
    expected = 2 / 3 * (1 / 2 - 2 / 4 * 2 / 5 + 1 / 16 * 1 / 3)
    assert sum(shares) / len(shares) == pytest.approx(expected, abs=0.03)
    kept = generator()
    mixed(images, labels, 2, kept, 0.0)
    other = generator()
    mixed(images, labels, 2, other, 1.0)
    assert torch.equal(kept.get_state(), other.get_state())


def test_images_are_augmented_before_they_are_mixed() -> None:
    images = torch.randn(5, 2, 6, 8, generator=generator(1))
    labels, again = torch.tensor([2, 0, 1, 1, 0]), generator(3)
    found = changed("dsa:color", images, labels, generator=generator(3), num_classes=3, cutmix=1.0)
    expected = mixed(augmented("dsa:color", images, again), labels, 3, again, 1.0)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    plain, same = changed("dsa:color", images, labels, generator=generator(3))
    assert same is labels
    assert torch.equal(plain, augmented("dsa:color", images, generator(3)))
