import pytest
import torch
from torch import Tensor

from datacondense.augment.per_image import apply_augmentation, draw_augmentation
from datacondense.augment.siamese import apply_siamese, draw_siamese
from datacondense.augment.strategies import augmented
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


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("dsa", "'dsa' names no Siamese operations: spell them out"),
        ("blur", "'blur' is unknown"),
        ("dsa:blur", "'dsa:blur' is unknown"),
    ],
)
def test_names_that_cannot_be_drawn_from_are_refused(images: Tensor, strategy: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        augmented(strategy, images, generator())
