import pytest

from datacondense.data.catalogue import CATALOGUE, default_augmentation, may_be_mirrored
from datacondense.data.config import DataConfig


def test_only_mnist_is_augmented_in_evaluation() -> None:
    assert default_augmentation("mnist") == "crop-scale-rotate"
    assert {default_augmentation(name) for name in CATALOGUE if name != "mnist"} == {"none"}
    assert default_augmentation("owner/name") == "none"
    assert default_augmentation(None) == "none"


def test_only_digits_may_not_be_mirrored() -> None:
    assert {name for name in CATALOGUE if not may_be_mirrored(name)} == {"digits", "mnist", "svhn", "usps"}
    assert may_be_mirrored("owner/name")
    assert may_be_mirrored(None)


def test_names_are_sorted() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_normalisation_is_whole_or_absent(name: str) -> None:
    entry = CATALOGUE[name]

    assert (entry.mean is None) == (entry.std is None)
    if entry.mean is not None and entry.std is not None:
        assert len(entry.mean) == len(entry.std) in {1, 3}


def test_what_the_user_says_comes_first() -> None:
    filled = CATALOGUE["cifar100"].filled(DataConfig(label_column="coarse_label", resize=8))

    assert filled.label_column == "coarse_label"
    assert filled.image_column == "img"
    assert CATALOGUE["cifar100"].filled(DataConfig(image_column="thumbnail")).image_column == "thumbnail"
    assert (filled.config, filled.train_split, filled.test_split) == ("cifar100", "train", "test")
    assert filled.resize == 8
