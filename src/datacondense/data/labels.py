"""Labels of any kind to class numbers 0..K-1 with names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datacondense.errors import InputError


def named_classes(labels: Sequence[Any], where: str) -> tuple[tuple[str, ...], list[int]]:
    """Number the labels of a training split by their sorted order; each class is named by its value."""
    check_values(labels, where)
    values = sorted(set(labels))
    number = {value: index for index, value in enumerate(values)}
    return tuple(map(str, values)), [number[value] for value in labels]


def matched(names: Iterable[str], class_names: Sequence[str], where: str) -> list[int]:
    """Number the labels of a test split by the classes of the training split."""
    number = {name: index for index, name in enumerate(class_names)}
    names = list(names)
    unknown = sorted(set(names) - number.keys())
    if unknown:
        first = ", ".join(class_names[:10]) + (", …" if len(class_names) > 10 else "")
        raise InputError(
            f"{where} has the label {unknown[0]!r} ({len(unknown)} such labels), which no training image has "
            f"(training classes: {first}): remove these images, or train on that class too."
        )
    return [number[name] for name in names]


def check_values(labels: Sequence[Any], where: str) -> None:
    """Check that every label can name a class."""
    for row, label in enumerate(labels):
        if label is None:
            raise InputError(f"{where} has no label in row {row}: remove that row, or give it a label.")
        if not isinstance(label, (int, str)):
            raise InputError(
                f"{where} has the label {label!r} ({type(label).__name__}) in row {row}, but a label is one whole "
                "number or string: name another column with --label-column."
            )


def check_class_numbers(labels: Sequence[int], class_names: Sequence[str], where: str) -> None:
    """Check that every class number has a class."""
    check_values(labels, where)
    low, high = min(labels), max(labels)
    if low == -1:
        raise InputError(
            f"{where} has {list(labels).count(-1)} images with the label -1 (unlabelled, as in hidden test sets), "
            "but every image needs a class: choose a labelled split with --train-split or --test-split."
        )
    if low < 0 or high >= len(class_names):
        raise InputError(
            f"{where} has labels from {low} to {high}, but {len(class_names)} classes need labels 0 to "
            f"{len(class_names) - 1}: renumber the labels or name every class."
        )


def counted_classes(labels: Tensor) -> tuple[str, ...]:
    """Return the names "0" to "K-1" of classes that have numbers only, all of which must be in use."""
    found = torch.unique(labels).tolist()
    if found != list(range(len(found))):
        raise InputError(
            f"Labels run from {found[0]} to {found[-1]} with {len(found)} different values, but must be 0 to K-1 "
            "with every number in use: renumber them, as numpy.unique(labels, return_inverse=True)[1] does, or give "
            "class_names."
        )
    return tuple(map(str, found))


def integer_labels(labels: Any) -> Tensor:
    """Convert an array, tensor or list of N whole numbers to class numbers `[N]`, int64, on the CPU."""
    array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise InputError(
            f"Labels are {array.dtype} of shape {array.shape}, but must be one whole number for each image, shape "
            "(N,): give class numbers from 0, as argmax(axis=1) returns them for one-hot rows."
        )
    return torch.from_numpy(array.astype(np.int64))
