import unicodedata
from pathlib import Path

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.folder import read_folder
from datacondense.data.sources import load
from datacondense.data.splits import ReadSplit, Splits
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_folder, write_images

GREY = pictures(5, colour=False)


def read_test(splits: Splits) -> ReadSplit:
    """Return the test split, which could be read."""
    assert isinstance(splits[1], ReadSplit)
    return splits[1]


def test_class_folders_are_one_training_split(tmp_path: Path) -> None:
    write_folder(tmp_path, {"dog": GREY[:2], "cat": GREY[2:]})

    train, test = read_folder(tmp_path, DataConfig())

    assert (train.split, train.class_names, test) == ("train", ("cat", "dog"), None)
    assert list(train.labels) == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(train.images[:, 0].numpy(), np.stack([*GREY[2:], *GREY[:2]]))


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["test", "Test", "testing", "validation", "valid", "Val", "dev"])
def test_split_folders(tmp_path: Path, train: str, test: str) -> None:
    write_folder(tmp_path / train, {"cat": GREY[:1], "dog": GREY[1:3]})
    write_folder(tmp_path / test, {"dog": GREY[3:]})

    splits = read_folder(tmp_path, DataConfig())

    assert (splits[0].split, splits[0].class_names, len(splits[0].images)) == (train, ("cat", "dog"), 3)
    assert (read_test(splits).split, read_test(splits).class_names) == (test, ("dog",))


def test_split_folders_by_other_names(tmp_path: Path) -> None:
    for name in ("fold1", "fold2"):
        write_folder(tmp_path / name, {"cat": GREY[:1], "dog": GREY[1:]})

    splits = read_folder(tmp_path, DataConfig(train_split="fold2", test_split="fold1"))

    assert (splits[0].split, read_test(splits).split) == ("fold2", "fold1")
    with pytest.raises(InputError, match=r"no split 'fold3' \(splits: fold1, fold2\)"):
        read_folder(tmp_path, DataConfig(train_split="fold3"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": GREY[:2], "tram": GREY[2:]})

    assert read_folder(tmp_path, DataConfig())[0].class_names == ("train", "tram")


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("train", "test"), "test/ and train/ in .* hold images"),
        (("Train", "Val"), "Train/ and Val/"),
        (("train",), "train/ in .* holds images"),
        (("train", "test", "bus"), "test/ and train/"),
        (("train", "test/cat"), "train/ in .* holds images"),
    ],
)
def test_splits_without_class_folders_are_refused(
    tmp_path: Path, folders: tuple[str, ...], named: str
) -> None:
    for folder in folders:
        write_images(tmp_path / folder, "0.png", "1.png")

    with pytest.raises(
        InputError, match=f"{named}.* without class folders.*put them into a folder for each class"
    ):
        read_folder(tmp_path, DataConfig())
    with pytest.raises(InputError, match=rf"{folders[0]}/ in .* holds images without class folders"):
        read_folder(tmp_path, DataConfig(train_split=folders[0]))


@pytest.mark.parametrize(("other", "ignored"), [("bus", 10), ("bus/red", 5)])
def test_classes_beside_splits_are_refused(tmp_path: Path, other: str, ignored: int) -> None:
    write_folder(tmp_path, {other: GREY, "car": GREY, "train/steam": GREY, "train/diesel": GREY})

    with pytest.raises(
        InputError,
        match=r"holds train/, a split by its name and its folders, and bus/, which seems to be a class: say that it is "
        "a split with --train-split train, or rename it",
    ):
        read_folder(tmp_path, DataConfig())
    with pytest.warns(UserWarning, match=rf"{ignored} of .* are ignored \(beside the splits {ignored}\)"):
        train, _ = read_folder(tmp_path, DataConfig(train_split="train"))
    assert train.class_names == ("diesel", "steam")


def test_a_split_of_another_name_may_lie_beside_splits(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        write_folder(tmp_path / name, {"cat": GREY[:1], "dog": GREY[1:]})

    assert read_folder(tmp_path, DataConfig())[0].split == "train"
    assert read_folder(tmp_path, DataConfig(train_split="extra"))[0].split == "extra"


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        (("a/train", "a/Test", "b/train", "b/Test"), "Test"),
        (("a/train", "a/test", "b"), "test"),
        (("a/test", "a/good", "b/test", "b/good"), "test"),
    ],
)
def test_splits_in_class_folders_are_refused(tmp_path: Path, folders: tuple[str, ...], split: str) -> None:
    write_folder(tmp_path, dict.fromkeys(folders, GREY))

    with pytest.raises(
        InputError, match=rf"a/{split} is a split in the folder of a class.*move its images to .*{split}/a"
    ):
        read_folder(tmp_path, DataConfig())


def test_a_class_may_hold_a_folder_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"vehicle/train": GREY, "vehicle/bus": GREY, "house": GREY})

    assert read_folder(tmp_path, DataConfig())[0].class_names == ("house", "vehicle")


def test_only_a_test_split_is_not_trained_on(tmp_path: Path) -> None:
    write_folder(tmp_path / "test", {"cat": GREY[:1], "dog": GREY[1:]})

    with pytest.raises(InputError, match=r"has only test images \(splits: test\).*--train-split"):
        read_folder(tmp_path, DataConfig())
    assert len(read_folder(tmp_path, DataConfig(train_split="test"))[0].images) == 5


def test_test_images_without_classes_do_not_stop_training(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": GREY[:1], "dog": GREY[1:]})
    write_images(tmp_path / "test", "0.png", "1.png")

    data = load(tmp_path)

    assert len(data.train) == 5
    with pytest.raises(InputError, match=r"test/ in .* holds images without class folders"):
        assert data.test
    write_folder(tmp_path / "val", {"cat": GREY[:1], "dog": GREY[1:]})
    assert read_test(read_folder(tmp_path, DataConfig())).split == "val"
    (tmp_path / "val" / "dog" / "0.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"val/dog/0\.png cannot be decoded"):
        assert load(tmp_path).test


def write_tiny_imagenet(root: Path) -> Path:
    """Write the layout in which Tiny ImageNet is published."""
    for name in ("n02", "n01"):
        write_images(root / "train" / name / "images", "0.JPEG", "1.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("0.JPEG\t0\t0\t62\t62\n")
    write_images(root / "val" / "images", "val_0.JPEG", "val_1.JPEG", "val_10.JPEG")
    lines = [
        "val_1.JPEG\tn02\t0\t32\t44\t62\n",
        "val_0.JPEG\tn01\t52\t55\t57\t59\n",
        "val_10.JPEG\tn02\t0\t0\t1\t1\n",
    ]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    write_images(root / "test" / "images", "test_0.JPEG")
    (root / "wnids.txt").write_text("n02\nn01\n")
    return root


def test_tiny_imagenet_as_it_is_published(tmp_path: Path) -> None:
    data = load(write_tiny_imagenet(tmp_path))

    assert data.test is not None
    assert (data.train.class_names, data.train.labels.tolist()) == (("n01", "n02"), [0, 0, 1, 1])
    assert (data.test.class_names, data.test.labels.tolist()) == (("n01", "n02"), [0, 1, 1])
    assert data.test.provenance["source"]["split"] == "val"
    hidden = load(tmp_path, DataConfig(test_split="test"))
    with pytest.raises(InputError, match="The split 'test' has the label 'images'"):
        assert hidden.test


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("val_0.JPEG\tn01\n", r"val_1\.JPEG has no line in .*val_annotations\.txt: add its class"),
        ("val_0.JPEG\n", r"val_annotations\.txt cannot be read as a table of file names and classes"),
        ("val_0.JPEG\tn9\nval_1.JPEG\tn9\nval_10.JPEG\tn9\n", "The split 'val' has the label 'n9'"),
    ],
)
def test_a_table_of_classes_that_is_wrong(tmp_path: Path, table: str, message: str) -> None:
    (write_tiny_imagenet(tmp_path) / "val" / "val_annotations.txt").write_text(table)

    data = load(tmp_path)

    with pytest.raises(InputError, match=message):
        assert data.test


@pytest.mark.parametrize("inner", ["mydata", "a/b/mydata"])
@pytest.mark.parametrize("split", ["", "train/"])
def test_a_folder_around_the_data_set_is_entered(tmp_path: Path, inner: str, split: str) -> None:
    write_folder(tmp_path / inner, {f"{split}cat": GREY[:1], f"{split}dog": GREY[1:]})
    (tmp_path / "__MACOSX" / "mydata").mkdir(parents=True)
    write_images(tmp_path / "__MACOSX" / "mydata", "._0.png", "1.png")

    assert read_folder(tmp_path, DataConfig())[0].class_names == ("cat", "dog")


def test_one_class_is_no_folder_around_a_data_set(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY})

    with pytest.raises(InputError, match=r"has 1 class \(cat\)"):
        load(tmp_path)


def test_whole_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    write_folder(tmp_path, {str(number): GREY[:1] for number in range(11)})
    assert read_folder(tmp_path, DataConfig())[0].class_names == tuple(map(str, range(11)))

    write_folder(tmp_path, {"ten": GREY[:1]})
    assert (read_folder(tmp_path, DataConfig())[0].class_names or ())[:4] == ("0", "1", "10", "2")


def test_names_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_folder(tmp_path / "train", {composed: GREY[:1], decomposed: GREY[1:3], "dog": GREY[3:]})
    write_folder(tmp_path / "test", {decomposed: GREY[:1], "dog": GREY[1:]})

    data = load(tmp_path)

    assert data.test is not None
    assert data.train.class_names == data.test.class_names == (composed, "dog")
    assert (data.train.class_sizes, data.test.class_sizes) == ((3, 2), (1, 4))


def test_images_may_lie_deeper(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/2020": GREY[:1], "cat": GREY[1:2], "dog": GREY[2:]})
    (tmp_path / "dog" / "0.png").rename(tmp_path / "dog" / "0.PNG")
    (tmp_path / "linked").mkdir()
    (tmp_path / "cat" / "more").symlink_to(tmp_path / "linked")
    write_images(tmp_path / "linked", "0.png")
    (tmp_path / "linked" / "back").symlink_to(tmp_path / "cat")

    with pytest.warns(UserWarning, match=r"\(links to a folder above 2\)"):
        train, _ = read_folder(tmp_path, DataConfig())

    assert train.class_names == ("cat", "dog", "linked")
    assert list(train.labels).count(0) == 3


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no folders of images .*\(it is empty\).*<folder>/cat/1.png"):
        read_folder(tmp_path, DataConfig())
    for index in range(7):
        (tmp_path / f"{index}.dat").touch()
    with pytest.raises(
        InputError, match=r"\(it holds 0\.dat, 1\.dat, 2\.dat, 3\.dat, 4\.dat, … \(7 in all\)\)"
    ):
        read_folder(tmp_path, DataConfig())


def test_folders_that_lead_too_deep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 120)).mkdir(parents=True)

    with pytest.raises(InputError, match="more than 100 folders deep"):
        read_folder(tmp_path, DataConfig())


def test_broken_images_are_named_by_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY, "dog": GREY})
    (tmp_path / "dog" / "3.png").write_bytes(b"")

    with pytest.raises(InputError, match=r"dog/3\.png cannot be decoded as an image"):
        read_folder(tmp_path, DataConfig())


def test_mixed_sizes_are_named_by_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": GREY, "dog": pictures(1, colour=True, size=9)})

    with pytest.raises(InputError, match=r"cat/0\.png is 6x6 pixels but .*dog/0\.png is 9x9"):
        read_folder(tmp_path, DataConfig())
    assert read_folder(tmp_path, DataConfig(resize=8, channels=1))[0].images.shape == (6, 1, 8, 8)
