import numpy as np
import pytest
import torch

from datacondense.data.labels import (
    check_class_numbers,
    check_values,
    counted_classes,
    integer_labels,
    matched,
    named_classes,
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


def test_counted_classes_need_every_number() -> None:
    assert counted_classes(torch.tensor([2, 0, 1, 1])) == ("0", "1", "2")
    with pytest.raises(InputError, match=r"Labels run from 1 to 10 with 10 different values.*return_inverse"):
        counted_classes(torch.arange(1, 11))
    with pytest.raises(InputError, match="Labels run from 0 to 3 with 3 different values"):
        counted_classes(torch.tensor([0, 1, 3]))


@pytest.mark.parametrize(
    "labels", [[0, 2], np.array([0, 2], dtype=np.uint8), np.array([[0], [2]]), torch.tensor([0, 2])]
)
def test_integer_labels_of_any_container(labels: object) -> None:
    found = integer_labels(labels)

    assert found.dtype == torch.int64
    assert found.tolist() == [0, 2]


@pytest.mark.parametrize("labels", [[0.0, 1.0], np.eye(3, dtype=int), np.array(["a"]), []])
def test_labels_of_other_forms_are_refused(labels: object) -> None:
    with pytest.raises(InputError, match=r"Labels are .*one whole number for each image"):
        integer_labels(labels)
