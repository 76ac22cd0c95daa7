"""What every reader returns, and how two splits become the training and the test `ImageSet`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.decode import widened
from datacondense.data.labels import check_class_numbers, check_values, matched, named_classes
from datacondense.data.normalisation import pixel_statistics
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet, check_trainable

_TEST_SPLITS = ("test", "validation", "valid", "val")

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """The two sets of a data set.

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
        split: Name of the split in the source.
    """

    images: Tensor
    labels: Sequence[Any]
    class_names: tuple[str, ...] | None
    split: str


Splits = tuple[ReadSplit, ReadSplit | None]


def read_splits(
    names: Sequence[str], read: Callable[[str], ReadSplit], config: DataConfig, where: str
) -> Splits:
    """Read the split to train on and the split to test on."""
    train, test = select_splits(names, config, where)
    return read(train), None if test is None else read(test)


def select_splits(splits: Sequence[str], config: DataConfig, where: str) -> tuple[str, str | None]:
    """Return the names of the splits to train and to test on."""
    for name, flag in ((config.train_split, "train"), (config.test_split, "test")):
        if name is not None and name not in splits:
            raise InputError(
                f"{where} has no split {name!r} (splits: {', '.join(splits) or 'none'}): name one of these with "
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
    """Build image sets from what a reader found: one numbering of classes, one size, one normalisation."""
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
        dataset=source["name"],
        **facts_of(source["name"])._asdict(),
    )
    check_trainable(train_set)

    def provenance(part: ReadSplit) -> dict[str, Any]:
        about = {"fingerprint": train_set.fingerprint, "split": part.split, "num_images": len(part.images)}
        return {"source": {**source, **about}}

    test_set = None
    if test is not None and test_images is not None:
        labels = torch.tensor(_test_classes(test, class_names), dtype=torch.int64)
        test_set = replace(train_set, images=test_images, labels=labels, provenance=provenance(test))
    return DataSplits(train=replace(train_set, provenance=provenance(train)), test=test_set)


def _training_classes(train: ReadSplit) -> tuple[tuple[str, ...], Sequence[int]]:
    """Return class names and numbers of the training split."""
    where = f"The split {train.split!r}"
    if train.class_names is None:
        return named_classes(train.labels, where)
    check_class_numbers(train.labels, train.class_names, where)
    return train.class_names, train.labels


def _test_classes(test: ReadSplit, class_names: tuple[str, ...]) -> Sequence[int]:
    """Return class numbers of the test split, matched to the training classes by name."""
    where = f"The split {test.split!r}"
    if test.class_names is None:
        check_values(test.labels, where)
        return matched(map(str, test.labels), class_names, where)
    check_class_numbers(test.labels, test.class_names, where)
    if test.class_names == class_names:
        return test.labels
    return matched((test.class_names[label] for label in test.labels), class_names, where)


def _same_form(train: Tensor, test: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return both splits with the same channels; check that they have the same size."""
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
