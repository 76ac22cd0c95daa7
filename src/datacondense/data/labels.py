"""Labels of any kind to class numbers 0..K-1 with names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datacondense.errors import InputError


def named_classes(labels: Sequence[Any], where: str) -> tuple[tuple[str, ...], list[int]]:
    """Number the labels of a training split by their sorted order, each class named by its value.

    Args:
        labels: The N values: whole numbers, strings or booleans.
        where: How a message calls the split.

    Returns:
        The K class names, and the N class numbers.

    Raises:
        InputError: A label is missing, or of a kind that is no class.
    """
    check_values(labels, where)
    values = sorted(set(labels))
    number = {value: index for index, value in enumerate(values)}
    return tuple(map(str, values)), [number[value] for value in labels]


def matched(names: Iterable[str], class_names: Sequence[str], where: str) -> list[int]:
    """Number the labels of a test split by the classes of the training split.

    Args:
        names: The class name of each of the N images.
        class_names: The K class names of the training split.
        where: How a message calls the split.

    Returns:
        The N class numbers.

    Raises:
        InputError: A label is no class of the training split.
    """
    number = {name: index for index, name in enumerate(class_names)}
    names = list(names)
    unknown = sorted(set(names) - number.keys())
    if unknown:
        raise InputError(
            f"{where} has the label {unknown[0]!r} ({len(unknown)} such labels), which no training image has "
            f"(training classes: {_listed(class_names)}): remove these images, or train on that class too."
        )
    return [number[name] for name in names]


def check_values(labels: Sequence[Any], where: str) -> None:
    """Check that every label is a value that can name a class.

    Args:
        labels: The N values.
        where: How a message calls the split.

    Raises:
        InputError: A label is missing, or is neither a whole number, a string nor a boolean.
    """
    for row, label in enumerate(labels):
        if label is None:
            raise InputError(f"{where} has no label in row {row}: remove that row, or give it a label.")
        if not isinstance(label, (int, str)):
            raise InputError(
                f"{where} has the label {label!r} ({type(label).__name__}) in row {row}, but a label is one whole "
                "number or string: name another column with --label-column."
            )


def check_class_numbers(labels: Sequence[int], class_names: Sequence[str], where: str) -> None:
    """Check that labels which are class numbers already name a class each.

    Args:
        labels: The N class numbers.
        class_names: The K class names.
        where: How a message calls the split.

    Raises:
        InputError: A label is -1, the Hub's sign for hidden labels, or outside 0..K-1.
    """
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
    """Name the classes of labels that are whole numbers without names.

    Args:
        labels: Class numbers `[N]`, int64.

    Returns:
        "0" to "K-1", with K one above the largest label.

    Raises:
        InputError: A number from 0 to the largest is not among the labels.
    """
    found = torch.unique(labels).tolist()
    if found != list(range(len(found))):
        raise InputError(
            f"Labels run from {found[0]} to {found[-1]} with {len(found)} different values, but must be 0 to K-1 "
            "with every number in use: renumber them, as numpy.unique(labels, return_inverse=True)[1] does, or give "
            "class_names."
        )
    return tuple(map(str, found))


def integer_labels(labels: Any) -> Tensor:
    """Bring labels of an array, tensor or list to class numbers.

    Args:
        labels: N whole numbers.

    Returns:
        int64 `[N]`, on the CPU.

    Raises:
        InputError: The labels are not one whole number each.
    """
    array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise InputError(
            f"Labels are {array.dtype} of shape {array.shape}, but must be one whole number for each image, shape "
            "(N,): give class numbers from 0, as argmax(axis=1) makes of one-hot rows."
        )
    return torch.from_numpy(array.astype(np.int64))


def _listed(names: Sequence[str]) -> str:
    """List the first few names."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
