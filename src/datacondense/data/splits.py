"""What every reader returns, and how two splits become the training and the test `ImageSet`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.decode import widened
from datacondense.data.labels import (
    check_class_numbers,
    check_values,
    matched,
    named_classes,
    unique_names,
)
from datacondense.data.normalisation import pixel_statistics
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet, check_trainable

T = TypeVar("T")

_TRAIN_NAMES = (("train", "training"),)
# In the order in which they are preferred.
_TEST_NAMES = (("test", "testing"), ("validation",), ("valid",), ("val",), ("dev",))

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


class DataSplits:
    """The two sets of a data set.

    A test split that cannot be used, such as one without labels, is reported when it is needed: condensing learns
    from the training images alone.

    Attributes:
        train: The training images.
    """

    def __init__(self, *, train: ImageSet, test: ImageSet | InputError | None) -> None:
        self.train = train
        self._test = test

    def __repr__(self) -> str:
        return f"DataSplits(train={self.train!r}, test={self._test!r})"

    @property
    def test(self) -> ImageSet | None:
        """The test images, with the classes and normalisation of the training images; None where there are none.

        `InputError` is raised if the source has test images that cannot be used.
        """
        if isinstance(self._test, InputError):
            raise self._test.with_traceback(None)
        return self._test

    @property
    def has_test(self) -> bool:
        """Whether there are test images that can be used."""
        return isinstance(self._test, ImageSet)


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


# The training split, and the test split, or why that cannot be used.
Splits = tuple[ReadSplit, ReadSplit | InputError | None]


def kept(make: Callable[[], T]) -> T | InputError:
    """Return what a function returns, or the `InputError` that it raises, for when the result is needed."""
    try:
        return make()
    except InputError as error:
        return error


def read_splits(
    names: Sequence[str], read: Callable[[str], ReadSplit], config: DataConfig, where: str
) -> Splits:
    """Read the split to train on and the split to test on."""
    train, test = select_splits(names, config, where)
    return read(train), None if test is None else kept(lambda: read(test))


def split_role(name: str) -> Literal["train", "test"] | None:
    """Return what a split of a usual name is for, without regard to case; None for other names."""
    for role, groups in (("train", _TRAIN_NAMES), ("test", _TEST_NAMES)):
        if any(name.lower() in group for group in groups):
            return role  # type: ignore[return-value]
    return None


def select_splits(splits: Sequence[str], config: DataConfig, where: str) -> tuple[str, str | None]:
    """Return the names of the splits to train and to test on."""
    train = _given(config.train_split, splits, "train", where)
    test = _given(config.test_split, splits, "test", where)
    if train is None:
        train = _usual(_TRAIN_NAMES, [name for name in splits if name != test], "train", where)
    if train is None and len(splits) == 1 and split_role(splits[0]) is None:
        train = splits[0]
    if train is None:
        listed = ", ".join(splits) or "none"
        if splits and all(split_role(name) == "test" for name in splits):
            raise InputError(
                f"{where} has only test images (splits: {listed}): add a split 'train', or name the one to learn from "
                "with --train-split."
            )
        raise InputError(
            f"{where} has no split 'train' (splits: {listed}): name the one to learn from with --train-split."
        )
    return train, test or _usual(_TEST_NAMES, [name for name in splits if name != train], "test", where)


def _given(name: str | None, splits: Sequence[str], flag: str, where: str) -> str | None:
    """Return the split that the user names; its case may differ where that leaves no doubt."""
    if name is None or name in splits:
        return name
    same = [split for split in splits if split.lower() == name.lower()]
    if len(same) == 1:
        return same[0]
    raise InputError(
        f"{where} has no split {name!r} (splits: {', '.join(splits) or 'none'}): name one of these with --{flag}-split."
    )


def _usual(groups: Sequence[Sequence[str]], splits: Sequence[str], flag: str, where: str) -> str | None:
    """Return the split with the first of the usual names."""
    for group in groups:
        found = [name for name in splits if name.lower() in group]
        if len(found) > 1:
            raise InputError(
                f"{where} has the splits {', '.join(found)}, and each may be the one to {flag} on: name one with "
                f"--{flag}-split."
            )
        if found:
            return found[0]
    return None


def assemble(
    train: ReadSplit,
    test: ReadSplit | InputError | None,
    *,
    source: dict[str, Any],
    published: Normalisation | None,
) -> DataSplits:
    """Build image sets from what a reader found: one numbering of classes, one size, one normalisation."""
    train_images, test = _same_form(train.images, test)
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

    def test_set(part: ReadSplit) -> ImageSet:
        labels = torch.tensor(_test_classes(part, class_names), dtype=torch.int64)
        return replace(train_set, images=part.images, labels=labels, provenance=provenance(part))

    return DataSplits(
        train=replace(train_set, provenance=provenance(train)),
        test=kept(lambda: test_set(test)) if isinstance(test, ReadSplit) else test,
    )


def _training_classes(train: ReadSplit) -> tuple[tuple[str, ...], Sequence[int]]:
    """Return class names and numbers of the training split."""
    where = f"The split {train.split!r}"
    if train.class_names is None:
        return named_classes(train.labels, where)
    check_class_numbers(train.labels, train.class_names, where)
    return unique_names(train.class_names, where), train.labels


def _test_classes(test: ReadSplit, class_names: tuple[str, ...]) -> Sequence[int]:
    """Return class numbers of the test split, matched to the training classes by name."""
    where = f"The split {test.split!r}"
    if test.class_names is None:
        check_values(test.labels, where)
        return matched(test.labels, class_names, where)
    check_class_numbers(test.labels, test.class_names, where)
    if test.class_names == class_names:
        return test.labels
    return matched((test.class_names[label] for label in test.labels), class_names, where)


def _same_form(
    train: Tensor, test: ReadSplit | InputError | None
) -> tuple[Tensor, ReadSplit | InputError | None]:
    """Return both splits with the same channels, or why the test split cannot be used: it has another size."""
    if not isinstance(test, ReadSplit):
        return train, test
    if train.shape[2:] != test.images.shape[2:]:
        (height, width), (test_height, test_width) = train.shape[2:], test.images.shape[2:]
        return train, InputError(
            f"Training images are {width}x{height} pixels but test images are {test_width}x{test_height}, and images "
            "must share one size: give one with --resize, such as --resize 32."
        )
    if train.shape[1] != test.images.shape[1]:
        return widened(train), replace(test, images=widened(test.images))
    return train, test
