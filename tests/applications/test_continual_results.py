"""Forgetting and backward transfer, by hand."""

import pytest

from datacondense.applications.continual_results import backward_transfer, forgetting

# The second stage helps the first, and the third spoils both.
ACCURACIES = [[0.80], [0.90, 0.70], [0.60, 0.65, 0.95]]


def test_forgetting_is_the_fall_from_the_best() -> None:
    assert forgetting(ACCURACIES) == pytest.approx(((0.90 - 0.60) + (0.70 - 0.65)) / 2)


def test_backward_transfer_is_the_change_since_the_own_stage() -> None:
    assert backward_transfer(ACCURACIES) == pytest.approx(((0.60 - 0.80) + (0.65 - 0.70)) / 2)


def test_what_was_never_lost_is_not_forgotten() -> None:
    rising = [[0.5], [0.6, 0.7]]
    assert forgetting(rising) == pytest.approx(-0.1)
    assert backward_transfer(rising) == pytest.approx(0.1)
