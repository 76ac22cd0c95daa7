import numpy as np
import pytest
import torch

from datacondense.data.labels import (
    check_class_numbers,
    check_values,
    label_values,
    matched,
    named_classes,
    numbered,
    only_present,
    unique_names,
)
from datacondense.errors import InputError


def test_numbers_are_numbered_by_value_not_by_text() -> None:
    assert named_classes([10, 9, 10, -5], "train") == (("-5", "9", "10"), [2, 1, 2, 0])


def test_strings_are_numbered_in_sorted_order() -> None:
    assert named_classes(["dog", "cat", "dog"], "train") == (("cat", "dog"), [1, 0, 1])


def test_test_labels_follow_the_training_classes() -> None:
    assert matched(["dog", "dog"], ("cat", "dog"), "test") == [1, 1]


def test_unknown_test_labels_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"test has the label 'cow' \(2 such labels\).*training classes: cat, dog"
    ):
        matched(["dog", "cow", "emu"], ("cat", "dog"), "test")


def test_many_classes_are_not_all_listed() -> None:
    with pytest.raises(InputError, match=r"training classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …\)"):
        matched(["x"], [str(number) for number in range(50)], "test")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, None], "train has no label in row 1"),
        ([0, 1.5], r"train has the label 1\.5 \(float\) in row 1.*--label-column"),
        ([[1, 2]], r"train has the label \[1, 2\] \(list\) in row 0"),
    ],
)
def test_values_that_are_no_classes_are_refused(labels: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_values(labels, "train")


def test_hidden_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"test has 2 images with the label -1 \(unlabelled.*--test-split"):
        check_class_numbers([-1, 0, -1], ["a", "b"], "test")


def test_class_numbers_beyond_the_names_are_refused() -> None:
    with pytest.raises(InputError, match="test has labels from 0 to 2, but 2 classes need labels 0 to 1"):
        check_class_numbers([0, 2], ["a", "b"], "test")


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        ([0, 2, 0], ("0", "2"), [0, 1, 0]),
        (np.arange(1, 11), tuple(map(str, range(1, 11))), list(range(10))),
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (np.array(["b", "a"]), ("a", "b"), [1, 0]),
        (np.array(["b", "a"], dtype=object), ("a", "b"), [1, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        (torch.tensor([-1, 1]), ("-1", "1"), [0, 1]),
        (np.array([2**64 - 1, 0], dtype=np.uint64), ("0", "18446744073709551615"), [1, 0]),
    ],
)
def test_each_value_is_a_class(labels: object, names: tuple[str, ...], numbers: list[int]) -> None:
    assert numbered(labels, None) == (names, numbers)


def test_labels_are_numbers_or_names_of_the_classes_given() -> None:
    assert numbered([1, 0], ["dog", "cat", "emu"]) == (("dog", "cat", "emu"), [1, 0])
    assert numbered(["cat", "dog"], ["dog", "cat", "emu"]) == (("dog", "cat", "emu"), [1, 0])
    with pytest.raises(InputError, match=r"has the label 'cow' .*which class_names lack \(names: dog, cat\)"):
        numbered(["cat", "cow"], ["dog", "cat"])
    for labels in ([0, 2], [-1, 0], np.array([0, 2**63], dtype=np.uint64)):
        with pytest.raises(
            InputError, match=r"Labels run from .* but 2 classes need labels 0 to 1: renumber"
        ):
            numbered(labels, ["dog", "cat"])


def test_names_that_look_the_same_are_one_class() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"

    assert named_classes([composed, decomposed, "a"], "train") == (("a", composed), [1, 1, 0])
    assert matched([decomposed], (composed,), "test") == [0]
    with pytest.raises(
        InputError, match="train has 2 classes of the name 'café': give every class its own name"
    ):
        unique_names([composed, decomposed], "train")


def test_classes_without_images_are_left_out() -> None:
    assert only_present(("a", "b", "c", "d"), [3, 1, 3]) == (("b", "d"), [1, 0, 1])


@pytest.mark.parametrize(
    "labels", [[0, 2], np.array([0, 2], dtype=np.uint8), np.array([[0], [2]]), torch.tensor([0, 2])]
)
def test_labels_of_any_container(labels: object) -> None:
    assert label_values(labels) == [0, 2]


@pytest.mark.parametrize("labels", [[0.0, 1.0], np.eye(3, dtype=int), np.array([b"a"]), [], 3, None])
def test_labels_of_other_forms_are_refused(labels: object) -> None:
    with pytest.raises(InputError, match=r"Labels are .*one whole number or string for each image"):
        label_values(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["a", 1],
            "has the label 'a' in row 0 and 1 in row 1, but labels are either whole numbers or strings",
        ),
        (["a", None], "has no label in row 1"),
        (["a", 1.5], r"has the label 1\.5 \(float\) in row 1"),
        ([[0], [1, 2]], "Labels form no array"),
    ],
)
def test_mixed_labels_are_refused(labels: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_values(labels)


def test_rows_of_one_label_are_labels() -> None:
    assert label_values([["cat"], ["dog"]]) == label_values(np.array([["cat"], ["dog"]])) == ["cat", "dog"]
    with pytest.raises(InputError, match="has the label 'a' in row 0 and 1 in row 1"):
        label_values([["a"], [1]])
