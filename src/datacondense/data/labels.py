"""Labels of any kind to class numbers 0..K-1 with names."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from datacondense.errors import InputError


def normal(name: Any) -> str:
    """Return a class name in the one form (NFC) of what looks the same: "é" may be one letter or two."""
    return unicodedata.normalize("NFC", str(name))


def unique_names(names: Iterable[Any], where: str) -> tuple[str, ...]:
    """Return class names, of which no two may look the same."""
    normalised = tuple(map(normal, names))
    for name, count in Counter(normalised).items():
        if count > 1:
            raise InputError(
                f"{where} has {count} classes of the name {name!r}: give every class its own name."
            )
    return normalised


def named_classes(labels: Sequence[Any], where: str) -> tuple[tuple[str, ...], list[int]]:
    """Number the labels of a training split by their sorted order; each class is named by its value."""
    check_values(labels, where)
    values = [normal(label) if isinstance(label, str) else label for label in labels]
    ordered = sorted(set(values))
    number = {value: index for index, value in enumerate(ordered)}
    return tuple(map(str, ordered)), [number[value] for value in values]


def numbered(labels: Any, class_names: Sequence[Any] | None) -> tuple[tuple[str, ...], list[int]]:
    """Return class names and the N class numbers; strings are looked up among the names that are given."""
    where = "The data set"
    values = label_values(labels)
    if class_names is None:
        return named_classes(values, where)
    names = unique_names(class_names, where)
    if isinstance(values[0], str):
        return names, matched(values, names, where, lacking="which class_names lack (names")
    low, high = min(values), max(values)
    if low < 0 or high >= len(names):
        raise InputError(
            f"Labels run from {low} to {high}, but {len(names)} classes need labels 0 to {len(names) - 1}: renumber "
            "the labels or name every class."
        )
    return names, [int(value) for value in values]


def only_present(names: Sequence[str], numbers: Sequence[int]) -> tuple[tuple[str, ...], list[int]]:
    """Leave out the classes without an image, and number the others in their order."""
    present = sorted(set(numbers))
    number = {old: new for new, old in enumerate(present)}
    return tuple(names[old] for old in present), [number[old] for old in numbers]


def matched(
    labels: Iterable[Any],
    class_names: Sequence[str],
    where: str,
    *,
    lacking: str = "which no training image has (training classes",
) -> list[int]:
    """Number labels by the names of classes that are known."""
    number = {name: index for index, name in enumerate(class_names)}
    names = [normal(label) for label in labels]
    unknown = sorted(set(names) - number.keys())
    if unknown:
        first = ", ".join(class_names[:10]) + (", …" if len(class_names) > 10 else "")
        raise InputError(
            f"{where} has the label {unknown[0]!r} ({len(unknown)} such labels), {lacking}: {first}): remove these "
            "images, or train on that class too."
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
        if isinstance(label, str) != isinstance(labels[0], str):
            raise InputError(
                f"{where} has the label {labels[0]!r} in row 0 and {label!r} in row {row}, but labels are either whole "
                "numbers or strings: convert them."
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


def label_values(labels: Any) -> list[Any]:
    """Return an array, tensor or list of N labels, `[N]` or `[N, 1]`, as a list of whole numbers or of strings."""
    try:
        array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"Labels form no array ({error}): give one whole number or string for each image."
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
        labels = [row[0] for row in labels] if isinstance(labels, (list, tuple)) else labels
    if array.ndim != 1 or array.dtype.kind not in "iubUO" or array.size == 0:
        raise InputError(
            f"Labels are {array.dtype} of shape {array.shape}, but must be one whole number or string for each image, "
            "shape (N,): give class numbers, as argmax(axis=1) returns them for one-hot rows."
        )
    # NumPy makes strings of all where some are.
    values: list[Any] = (
        list(labels) if array.dtype.kind == "U" and isinstance(labels, (list, tuple)) else array.tolist()
    )
    check_values(values, "The data set")
    return values
