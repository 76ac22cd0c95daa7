"""Paired differences: points, intervals, panels and axes by hand."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from datacondense.errors import InputError
from datacondense.reports.study_differences import _STYLES, differences
from datacondense.reports.study_plots import plot_study
from datacondense.studies.results import StudyResult
from tests.reports.made_studies import DIFFERENCES, made, of_sets, rising
from tests.reports.made_studies import differences as paired_study

BY_HAND = paired_study(
    lambda y, x: [
        of_sets(80, 81, 82),
        of_sets(81.9, 83, 84.1),  # 1.9, 2, 2.1 above
        of_sets(75.1, 76, 76.9),  # 4.9, 5, 5.1 below
        of_sets(81, 80, 82),  # 1, -1, 0
    ][y],
    rows=("plain", "better", "worse", "same"),
)


def points(axes: Axes) -> list[tuple[float, float, str, str]]:
    """Return coordinates, marker and colour of the points of a panel."""
    found = [line for line in axes.lines if line.get_marker() != "None"]
    points = [np.asarray(line.get_xydata()).round(6).tolist()[0] for line in found]
    return [
        (x, y, str(line.get_marker()), to_hex(line.get_color()))
        for (x, y), line in zip(points, found, strict=True)
    ]


def intervals(axes: Axes) -> list[list[float]]:
    """Return the height and both ends of the intervals of a panel."""
    segments = [
        np.asarray(line.get_segments()[0]) for line in axes.collections if isinstance(line, LineCollection)
    ]
    return [[segment[0, 1], *segment[:, 0]] for segment in segments]


def legend(result: StudyResult) -> list[str]:
    """Read the legend of a plot, heading first."""
    (found,) = (box for axes in differences(result).axes if (box := axes.get_legend()) is not None)
    return [found.get_title().get_text(), *(text.get_text() for text in found.get_texts())]


def written(figure: Figure) -> list[str]:
    return [" ".join(text.get_text().split()) for text in figure.texts]


def test_points_and_intervals_by_hand() -> None:
    (axes,) = differences(BY_HAND).axes
    gain, loss, undecided = (to_hex(_STYLES[kind]["color"]) for kind in ("gain", "loss", "undecided"))
    assert points(axes) == [(2, 0, "o", gain), (-5, 1, "s", loss), (0, 2, "o", undecided)]
    half = 4.302653 / 3**0.5  # Student's t of 2 degrees of freedom, over the root of the number of sets
    expected = [
        [0, 2 - 0.1 * half, 2 + 0.1 * half],
        [1, -5 - 0.1 * half, -5 + 0.1 * half],
        [2, -half, half],
    ]
    assert np.array(intervals(axes)) == pytest.approx(np.array(expected), abs=1e-6)
    assert [text.get_text() for text in axes.texts] == ["+2.00", "-5.00", "+0.00"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse", "same"]
    assert axes.get_ylim() == (2.5, -0.5)
    (zero,) = (line for line in axes.lines if line.get_marker() == "None")
    assert np.asarray(zero.get_xdata()).tolist() == [0, 0]
    assert legend(BY_HAND) == ["95 % interval", "gain", "undecided", "loss"]


def test_each_column_has_a_panel_three_beside_each_other() -> None:
    figure = differences(DIFFERENCES["five panels"])
    figure.draw_without_rendering()
    boxes = [axes.bbox for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["MLP", "ConvNet", "LeNet", "AlexNet", "VGG"]
    assert boxes[0].xmax < boxes[1].xmin < boxes[1].xmax < boxes[2].xmin
    assert [boxes[3].xmin, boxes[4].xmin] == pytest.approx([boxes[0].xmin, boxes[1].xmin])
    assert boxes[3].ymax < boxes[0].ymin
    # One scale for all, rows named once on each line.
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    rows = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert rows == [["mean", "max"], ["", ""], ["", ""], ["mean", "max"], ["", ""]]
    assert [len(points(axes)) for axes in figure.axes] == [2] * 5


def test_axis_names_what_is_compared() -> None:
    title, unit = written(differences(BY_HAND))
    assert title == "How well does a set condensed with one network train another?"
    assert unit == 'accuracy above that of "plain", points'
    assert written(differences(DIFFERENCES["large"]))[1].endswith(", points (logarithmic beyond ±1)")
    along = made(("a",), ("1", "2"), rising, plot="differences", paired={("a", "1"): ("a", "2")})
    assert written(differences(along))[1] == "accuracy above that of the paired entry, points"


def test_large_differences_leave_small_ones_visible() -> None:
    (small,) = differences(BY_HAND).axes
    large = differences(DIFFERENCES["large"]).axes[0]
    assert (small.get_xscale(), large.get_xscale()) == ("linear", "symlog")
    low, high = large.get_xlim()
    assert -110 < low < -66
    assert 0 < high < 1
    assert [label.get_text() for label in large.get_xticklabels()] == [
        "-100",
        "-10",
        "-1",
        "0",
        "+1",
        "+10",
        "+100",
    ]
    assert "0" in [label.get_text() for label in small.get_xticklabels()]


@pytest.mark.parametrize(
    ("sets", "lowest", "highest"),
    [
        ((10, 90), (-250, -100), (100, 250)),  # the interval is ±508, but no accuracies differ by that much
        ((50, 50), (-0.112, -0.1), (0.1, 0.112)),
    ],
)
def test_axis_includes_zero_and_only_possible_differences(
    sets: tuple[float, float], lowest: tuple[float, float], highest: tuple[float, float]
) -> None:
    result = paired_study(lambda y, x: of_sets(*sets) if y else of_sets(50, 50))
    low, high = differences(result).axes[0].get_xlim()
    assert lowest[0] <= low <= lowest[1]
    assert highest[0] <= high <= highest[1]


def test_a_single_set_has_no_interval() -> None:
    (axes,) = differences(DIFFERENCES["single set"]).axes
    assert [(x, y, marker) for x, y, marker, _ in points(axes)] == [(1, 0, "D"), (2, 1, "D")]
    assert not intervals(axes)
    assert legend(DIFFERENCES["single set"]) == ["", "single set"]


def test_unfinished_entries_leave_their_line_empty() -> None:
    figure = differences(DIFFERENCES["unfinished"])
    assert len(figure.axes) == 4
    assert not any(points(axes) for axes in figure.axes)
    assert all(axes.get_legend() is None for axes in figure.axes)
    half = paired_study(lambda y, x: of_sets() if y == 1 else of_sets(80, 81 + y))
    (axes,) = differences(half).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mean", "max"]
    assert [(x, y) for x, y, _, _ in points(axes)] == [(1, 1)]


def test_only_paired_rows_and_columns_are_plotted() -> None:
    paired = {("b", "y"): ("a", "y")}
    (axes,) = differences(made(("a", "b", "c"), ("x", "y"), rising, plot="differences", paired=paired)).axes
    assert (axes.get_title(), len(points(axes))) == ("y", 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b"]


def test_differences_need_pairs(tmp_path: Path) -> None:
    result = made(("a",), ("b",), rising, plot="differences")
    with pytest.raises(
        InputError, match=r"made is plotted as differences, but pairs no entries: .* 'heat map'"
    ):
        plot_study(result, tmp_path / "made.png")
    assert not list(tmp_path.iterdir())
