"""What every reader gives, and how two of them become the training and the test `ImageSet`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.decode import widened
from datacondense.data.labels import check_class_numbers, check_values, matched, named_classes
from datacondense.data.normalisation import pixel_statistics
from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable

_TEST_SPLITS = ("test", "validation", "valid", "val")

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """What loading a data set gives.

    Attributes:
        train: The training images.
        test: The test images, with the classes and the normalisation of the training images; None where the source
            has none.
    """

    train: ImageSet
    test: ImageSet | None


@dataclass(frozen=True, kw_only=True)
class ReadSplit:
    """One split as a reader found it.

    Attributes:
        images: `[N, C, H, W]`, uint8 or float32 in 0-1.
        labels: The N labels, of any kind; class numbers where `class_names` is given.
        class_names: The K class names, where the source has them.
        split: What the source calls the split.
    """

    images: Tensor
    labels: Sequence[Any]
    class_names: tuple[str, ...] | None
    split: str


def select_splits(splits: Sequence[str], config: DataConfig, where: str) -> tuple[str, str | None]:
    """Choose the splits to train and to test on.

    Args:
        splits: The names of the splits there are.
        config: The splits asked for, if any.
        where: How a message calls the data set.

    Returns:
        The name of the training split, and of the test split or None.

    Raises:
        InputError: A split that was asked for is missing, or there are several and none is called "train".
    """
    for asked, flag in ((config.train_split, "train"), (config.test_split, "test")):
        if asked is not None and asked not in splits:
            raise InputError(
                f"{where} has no split {asked!r} (splits: {', '.join(splits) or 'none'}): name one of these with "
                f"--{flag}-split."
            )
    train = config.train_split or ("train" if "train" in splits or len(splits) != 1 else splits[0])
    if train not in splits:
        raise InputError(
            f"{where} has no split 'train' (splits: {', '.join(splits) or 'none'}): name the one to learn from with "
            "--train-split."
        )
    found = [name for name in _TEST_SPLITS if name in splits and name != train]
    return train, config.test_split or (found[0] if found else None)


def assemble(
    train: ReadSplit, test: ReadSplit | None, *, source: dict[str, Any], published: Normalisation | None
) -> DataSplits:
    """Make image sets of what a reader found: one numbering of classes, one size, one normalisation.

    Args:
        train: The training split.
        test: The test split, or None.
        source: What is known of the origin: "name", "hub_id", "config", "resize", "channels".
        published: The published mean and std; used where it has one value for each channel.

    Returns:
        The training and the test set; the test set has the normalisation of the training set.

    Raises:
        InputError: Labels or sizes do not fit together, or a class has no training image.
    """
    train_images, test_images = _same_form(train.images, test.images if test else None)
    class_names, train_labels = _training_classes(train)
    if published is None or len(published[0]) != train_images.shape[1]:
        published = pixel_statistics(train_images)
    train_set = ImageSet(
        images=train_images,
        labels=torch.tensor(train_labels, dtype=torch.int64),
        class_names=class_names,
        mean=published[0],
        std=published[1],
    )
    check_trainable(train_set)
    source = {**source, "fingerprint": train_set.fingerprint}
    test_set = None
    if test is not None and test_images is not None:
        labels = torch.tensor(_test_classes(test, class_names), dtype=torch.int64)
        test_set = replace(train_set, images=test_images, labels=labels, provenance=_record(source, test))
    return DataSplits(train=replace(train_set, provenance=_record(source, train)), test=test_set)


def _record(source: dict[str, Any], part: ReadSplit) -> dict[str, Any]:
    """Note where a split comes from."""
    return {"source": {**source, "split": part.split, "num_images": len(part.images)}}


def _training_classes(train: ReadSplit) -> tuple[tuple[str, ...], Sequence[int]]:
    """Give class names and numbers of the training split."""
    where = f"The split {train.split!r}"
    if train.class_names is None:
        return named_classes(train.labels, where)
    check_class_numbers(train.labels, train.class_names, where)
    return train.class_names, train.labels


def _test_classes(test: ReadSplit, class_names: tuple[str, ...]) -> Sequence[int]:
    """Give class numbers of the test split, matched to the training classes by name."""
    where = f"The split {test.split!r}"
    if test.class_names is None:
        check_values(test.labels, where)
        return matched(map(str, test.labels), class_names, where)
    check_class_numbers(test.labels, test.class_names, where)
    if test.class_names == class_names:
        return test.labels
    return matched((test.class_names[label] for label in test.labels), class_names, where)


def _same_form(train: Tensor, test: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Give both splits the same channels, and check that they have the same size."""
    if test is None:
        return train, None
    if train.shape[2:] != test.shape[2:]:
        (height, width), (test_height, test_width) = train.shape[2:], test.shape[2:]
        raise InputError(
            f"Training images are {width}x{height} pixels but test images are {test_width}x{test_height}, and images "
            "must share one size: give one with --resize, such as --resize 32."
        )
    if train.shape[1] != test.shape[1]:
        train, test = widened(train), widened(test)
    return train, test
