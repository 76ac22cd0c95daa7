import pytest
import torch

from datacondense.data.config import DataConfig
from datacondense.data.splits import DataSplits, ReadSplit, assemble, read_splits, select_splits
from datacondense.errors import InputError


def part(
    labels: list[object],
    *,
    names: tuple[str, ...] | None = None,
    split: str = "train",
    channels: int = 1,
    size: int = 4,
) -> ReadSplit:
    generator = torch.Generator().manual_seed(len(labels))
    images = torch.randint(
        0, 256, (len(labels), channels, size, size), dtype=torch.uint8, generator=generator
    )
    return ReadSplit(images=images, labels=labels, class_names=names, split=split)


def assembled(
    train: ReadSplit,
    test: ReadSplit | InputError | None = None,
    published: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> DataSplits:
    return assemble(train, test, source={"name": "made"}, published=published)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["train", "test", "validation"], ("train", "test")),
        (["train", "validation", "val"], ("train", "validation")),
        (["valid", "train"], ("train", "valid")),
        (["val", "train"], ("train", "val")),
        (["train", "extra"], ("train", None)),
        (["scans"], ("scans", None)),
        (["Train", "TEST"], ("Train", "TEST")),
        (["training", "testing"], ("training", "testing")),
        (["train", "dev"], ("train", "dev")),
        (["dev", "val", "train"], ("train", "val")),
    ],
)
def test_usual_splits_are_selected(splits: list[str], expected: tuple[str, str | None]) -> None:
    assert select_splits(splits, DataConfig(), "x") == expected


def test_splits_that_are_named_come_first() -> None:
    config = DataConfig(train_split="extra", test_split="validation")

    assert select_splits(["train", "test", "validation", "extra"], config, "x") == ("extra", "validation")


def test_missing_splits_are_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"x has no split 'extra' \(splits: train, test\).*--train-split"):
        select_splits(["train", "test"], DataConfig(train_split="extra"), "x")
    with pytest.raises(InputError, match=r"x has no split 'dev' \(splits: train, test\).*--test-split"):
        select_splits(["train", "test"], DataConfig(test_split="dev"), "x")
    with pytest.raises(InputError, match=r"x has no split 'train' \(splits: a, b\)"):
        select_splits(["a", "b"], DataConfig(), "x")
    with pytest.raises(InputError, match=r"x has no split 'train' \(splits: none\)"):
        select_splits([], DataConfig(), "x")
    for only in (["test"], ["Test", "dev"]):
        with pytest.raises(InputError, match=r"x has only test images \(splits: .*--train-split"):
            select_splits(only, DataConfig(), "x")


def test_splits_of_the_same_name_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"x has the splits train, Training, and each may be the one to train on"
    ):
        select_splits(["train", "Training"], DataConfig(), "x")
    with pytest.raises(
        InputError, match=r"x has the splits test, testing, .* to test on: name one with --test-split"
    ):
        select_splits(["train", "test", "testing"], DataConfig(), "x")
    assert select_splits(["train", "Training"], DataConfig(train_split="Training"), "x") == ("Training", None)


def test_the_case_of_a_split_may_differ_where_one_is_meant() -> None:
    assert select_splits(["Train", "Held"], DataConfig(train_split="train", test_split="held"), "x") == (
        "Train",
        "Held",
    )
    with pytest.raises(InputError, match="x has no split 'EXTRA'"):
        select_splits(["train", "extra", "Extra"], DataConfig(train_split="EXTRA"), "x")


def test_test_images_share_classes_and_normalisation() -> None:
    data = assembled(part(["b", "a", "c"]), part(["c", "a"], split="test"))

    assert data.test is not None
    assert data.train.class_names == data.test.class_names == ("a", "b", "c")
    assert data.test.labels.tolist() == [2, 0]
    assert (data.test.mean, data.test.std) == (data.train.mean, data.train.std)
    assert data.train.mean[0] == pytest.approx(data.train.pixels().mean().item(), rel=1e-5)


def test_a_published_normalisation_is_used_where_it_fits() -> None:
    published = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    assert assembled(part([0, 1], channels=3), published=published).train.std == (0.4, 0.5, 0.6)
    assert assembled(part([0, 1], channels=1), published=published).train.mean != (0.1,)


def test_test_classes_are_matched_by_name() -> None:
    data = assembled(part([0, 1], names=("cat", "dog")), part([0, 0, 1], names=("dog", "cat"), split="test"))

    assert data.test is not None
    assert data.test.labels.tolist() == [1, 1, 0]


def test_provenance_holds_the_origin() -> None:
    data = assembled(part([0, 1, 1]), part([1], split="val"))

    assert data.test is not None
    assert data.train.provenance == {
        "source": {"name": "made", "fingerprint": data.train.fingerprint, "split": "train", "num_images": 3}
    }
    assert data.test.provenance["source"]["fingerprint"] == data.train.fingerprint
    assert data.test.provenance["source"]["split"] == "val"
    assert data.test.provenance["source"]["num_images"] == 1


def test_grey_is_widened_beside_colour() -> None:
    data = assembled(part([0, 1], channels=1), part([0], split="test", channels=3))

    assert data.test is not None
    assert data.train.image_shape == data.test.image_shape == (3, 4, 4)


def test_sizes_must_agree() -> None:
    with pytest.raises(InputError, match=r"Training images are 4x4 pixels but test images are 5x5.*--resize"):
        assert assembled(part([0, 1]), part([0], split="test", size=5)).test


def test_classes_must_be_learnable() -> None:
    with pytest.raises(InputError, match="has 1 class"):
        assembled(part(["a", "a"]))
    with pytest.raises(InputError, match="No training image has the class 'emu'"):
        assembled(part([0, 1], names=("cat", "dog", "emu")))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (part(["a", "b"]), part(["c"], split="test"), "The split 'test' has the label 'c'"),
        (
            part([0, 1], names=("a", "b")),
            part([-1, -1], names=("a", "b"), split="test"),
            "The split 'test' has 2 images with the label -1",
        ),
        (part(["a", "b"]), part([None], split="test"), "The split 'test' has no label in row 0"),
        (
            part([0, 1]),
            part([0], split="test", size=5),
            "Training images are 4x4 pixels but test images are 5x5",
        ),
        (part([0, 1]), InputError("Row 3 has no image."), "Row 3 has no image"),
    ],
)
def test_test_images_without_use_are_reported_when_they_are_needed(
    train: ReadSplit, test: ReadSplit | InputError, message: str
) -> None:
    data = assembled(train, test)

    assert data.train.fingerprint == assembled(train).train.fingerprint
    assert not data.has_test
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            assert data.test
    assert "has no image" in repr(data) or "The split" in repr(data) or "Training images" in repr(data)


def test_splits_are_read_as_they_are_needed() -> None:
    def read(split: str) -> ReadSplit:
        if split == "test":
            raise InputError("broken")
        return part([0, 1])

    train, test = read_splits(["train", "test"], read, DataConfig(), "x")

    assert len(train.images) == 2
    assert isinstance(test, InputError)
    with pytest.raises(InputError, match="broken"):
        read_splits(["train", "test"], read, DataConfig(train_split="test"), "x")


def test_has_test() -> None:
    assert assembled(part([0, 1]), part([1], split="test")).has_test
    assert not assembled(part([0, 1])).has_test
    assert assembled(part([0, 1])).test is None


def test_names_that_look_the_same_are_one_class() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    names = (decomposed, "dog")

    data = assembled(part([0, 1], names=names), part([1, 0], names=("dog", composed), split="test"))

    assert data.test is not None
    assert data.train.class_names == data.test.class_names == (composed, "dog")
    assert data.test.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="The split 'train' has 2 classes of the name 'café'"):
        assembled(part([0, 1], names=(composed, decomposed)))
