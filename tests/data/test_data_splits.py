import pytest
import torch

from datacondense.data.config import DataConfig
from datacondense.data.splits import DataSplits, ReadSplit, assemble, select_splits
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
    test: ReadSplit | None = None,
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
        (["test"], ("test", None)),
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
        assembled(part([0, 1]), part([0], split="test", size=5))


def test_classes_must_be_learnable() -> None:
    with pytest.raises(InputError, match="has 1 class"):
        assembled(part(["a", "a"]))
    with pytest.raises(InputError, match="No training image has the class 'emu'"):
        assembled(part([0, 1], names=("cat", "dog", "emu")))


def test_unknown_and_hidden_test_labels_are_refused() -> None:
    with pytest.raises(InputError, match="The split 'test' has the label 'c'"):
        assembled(part(["a", "b"]), part(["c"], split="test"))
    with pytest.raises(InputError, match="The split 'test' has 2 images with the label -1"):
        assembled(part([0, 1], names=("a", "b")), part([-1, -1], names=("a", "b"), split="test"))
    with pytest.raises(InputError, match="The split 'test' has no label in row 0"):
        assembled(part(["a", "b"]), part([None], split="test"))
