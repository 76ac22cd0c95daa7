import pytest

from datacondense.data.catalogue import CATALOGUE
from datacondense.data.config import DataConfig
from datacondense.facts import facts_of


def test_only_mnist_is_augmented_in_evaluation() -> None:
    assert facts_of("mnist").augmentation == "crop-scale-rotate"
    assert {facts_of(name).augmentation for name in CATALOGUE if name != "mnist"} == {"none"}
    assert facts_of("owner/name").augmentation == "none"
    assert facts_of(None).augmentation == "none"


def test_only_digits_may_not_be_mirrored() -> None:
    assert {name for name in CATALOGUE if not facts_of(name).may_be_mirrored} == {
        "digits",
        "mnist",
        "svhn",
        "usps",
    }
    assert facts_of("owner/name").may_be_mirrored
    assert facts_of(None).may_be_mirrored


def test_names_are_sorted() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_normalisation_has_one_number_per_channel(name: str) -> None:
    published = CATALOGUE[name].normalisation
    if published is not None:
        mean, std = published
        assert len(mean) == len(std) in {1, 3}


def test_files_follow_the_configuration() -> None:
    entry = CATALOGUE["imagewoof"]
    for name in ("160px", "320px"):
        files = entry.files(entry.filled(DataConfig(config=name)))
        assert files == {
            "data_files": {
                "train": f"{name}/train/*.parquet",
                "validation": f"{name}/validation/*.parquet",
            },
            "revision": "refs/convert/parquet",
        }
    assert entry.files(entry.filled(DataConfig(test_split="other"))) is None
    svhn = CATALOGUE["svhn"]
    assert svhn.files(svhn.filled(DataConfig(config="full_numbers"))) is None
    assert CATALOGUE["mnist"].files(CATALOGUE["mnist"].config) is None


def test_settings_of_the_user_come_first() -> None:
    filled = CATALOGUE["cifar100"].filled(DataConfig(label_column="coarse_label", resize=8))

    assert filled.label_column == "coarse_label"
    assert filled.image_column == "img"
    assert CATALOGUE["cifar100"].filled(DataConfig(image_column="thumbnail")).image_column == "thumbnail"
    assert (filled.config, filled.train_split, filled.test_split) == ("cifar100", "train", "test")
    assert filled.resize == 8
