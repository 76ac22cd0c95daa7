"""The published loop lengths, and the rule between and beyond them."""

from itertools import pairwise

import pytest

from datacondense.condensation.schedule import published_schedule


@pytest.mark.parametrize(
    ("ipc", "steps", "epochs"),
    [(1, 1, 1), (10, 10, 50), (20, 20, 25), (30, 30, 20), (40, 40, 15), (50, 50, 10)],
)
def test_published_schedules_are_kept(ipc: int, steps: int, epochs: int) -> None:
    assert published_schedule(ipc) == (steps, epochs)


@pytest.mark.parametrize(
    ("ipc", "steps", "epochs"),
    [
        (2, 2, 6),  # 1 + (50 - 1) / 9 = 6.4
        (5, 5, 23),  # 1 + 4 · 49 / 9 = 22.8
        (15, 15, 38),  # halfway between 50 and 25: 37.5, to the even neighbour
        (45, 45, 12),  # halfway between 15 and 10: 12.5, to the even neighbour
        (51, 50, 10),
        (1000, 50, 10),
    ],
)
def test_schedules_are_interpolated_between_and_kept_beyond(ipc: int, steps: int, epochs: int) -> None:
    assert published_schedule(ipc) == (steps, epochs)


def test_every_number_lies_on_the_line_between_two_published_ones() -> None:
    published = [(1, 1), (10, 50), (20, 25), (30, 20), (40, 15), (50, 10)]
    for (below, first), (above, last) in pairwise(published):
        for ipc in range(below, above):
            epochs = first + (ipc - below) / (above - below) * (last - first)
            assert published_schedule(ipc) == (ipc, round(epochs))
    assert {published_schedule(ipc) for ipc in range(50, 61)} == {(50, 10)}
