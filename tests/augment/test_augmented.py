import pytest
import torch
from torch import Tensor

from datacondense.augment.per_image import apply_augmentation, draw_augmentation
from datacondense.augment.siamese import apply_siamese, draw_siamese
from datacondense.augment.strategies import apply_view, augmented, draw_view
from datacondense.errors import InputError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(9))


def test_none_returns_the_batch_and_leaves_the_generator(images: Tensor) -> None:
    random = generator()
    assert augmented("none", images, random) is images
    assert torch.equal(random.get_state(), generator().get_state())


@pytest.mark.parametrize("strategy", ["crop-noise", "crop-scale-rotate"])
def test_each_image_gets_an_operation(images: Tensor, strategy: str) -> None:
    used, again = generator(), generator()
    for _ in range(2):
        expected = apply_augmentation(draw_augmentation(strategy, (6, 3, 8, 8), again), images)
        assert torch.equal(augmented(strategy, images, used), expected)
    assert torch.equal(used.get_state(), again.get_state())


def test_a_batch_gets_one_operation_and_each_image_its_numbers(images: Tensor) -> None:
    used, again = generator(), generator()
    operations = set()
    for _ in range(8):
        draw = draw_siamese("color-crop", 6, (3, 8, 8), again)
        operations.add(draw.operation)
        assert torch.equal(augmented("dsa:crop-color", images, used), apply_siamese(draw, images))
    assert operations == {"color", "crop"}
    same = augmented("dsa:color", images[:1].repeat(6, 1, 1, 1), generator())
    assert len(same.unique(dim=0)) == 6


def test_several_operations_are_applied_in_order_and_one_of_the_geometric_ones(images: Tensor) -> None:
    used, again = generator(), generator()
    moves = set()
    for _ in range(24):
        expected = images
        for group in ("color", "crop-scale-rotate", "flip", "cutout"):
            draw = draw_siamese(group, 6, (3, 8, 8), again)
            moves |= {draw.operation} if "-" in group else set()
            expected = apply_siamese(draw, expected)
        assert torch.equal(augmented("idc:flip-crop-scale-color-rotate-cutout", images, used), expected)
    assert moves == {"crop", "scale", "rotate"}
    assert torch.equal(used.get_state(), again.get_state())


@pytest.mark.parametrize(
    ("strategy", "operations"),
    [
        ("idc:cutout-color", ["color", "cutout"]),
        ("idc:flip-rotate", ["rotate", "flip"]),
        ("idc:scale", ["scale"]),
        ("dsa:flip", ["flip"]),
    ],
)
def test_only_listed_operations_are_drawn(images: Tensor, strategy: str, operations: list[str]) -> None:
    drawn = draw_view(strategy, 1, (3, 8, 8), generator())
    assert [draw.operation for draw in drawn] == operations
    assert torch.equal(apply_view(drawn, images)[2:4], apply_view(drawn, images[2:4]))  # all by one draw
    own = augmented(strategy, images[:1].repeat(6, 1, 1, 1), generator())
    assert len(own.unique(dim=0)) > 1


def test_a_view_of_several_operations_is_differentiable() -> None:
    drawn = draw_view("idc:color-rotate-flip-cutout", 1, (2, 4, 4), generator())
    images = torch.rand(2, 2, 4, 4, generator=generator(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply_view(drawn, x), (images,))


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("dsa", "'dsa' names no Siamese operations: spell them out"),
        ("idc", "'idc' names no Siamese operations: spell them out"),
        ("blur", "'blur' is unknown"),
        ("dsa:blur", "'dsa:blur' is unknown"),
    ],
)
def test_names_that_cannot_be_drawn_from_are_refused(images: Tensor, strategy: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        augmented(strategy, images, generator())
