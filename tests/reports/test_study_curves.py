"""Curves: lines, intervals and axes by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from datacondense.errors import InputError
from datacondense.reports.study_curves import curves
from datacondense.reports.study_plots import plot_study
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Published
from tests.reports.made_studies import CASES, Lines, curve_study, made, of_sets, rising, scores

T = 4.302653 / 3**0.5  # Student's t of 2 degrees of freedom, over the root of the number of sets


def plotted(result: StudyResult) -> Axes:
    (axes,) = curves(result).axes
    return axes


def heights(axes: Axes, index: int) -> list[float]:
    """Return the heights of a line."""
    found: list[float] = np.asarray(axes.lines[index].get_ydata(), dtype=float).round(6).tolist()
    return found


def bars(axes: Axes) -> list[list[list[float]]]:
    """Return for each row its bars: position and both ends."""
    rows = [each for each in axes.collections if isinstance(each, LineCollection)]
    return [[[bar[0, 0], *bar[:, 1]] for bar in map(np.asarray, row.get_segments())] for row in rows]


def means(result: StudyResult) -> list[list[float]]:
    """Return the heights of the solid lines."""
    axes = plotted(result)
    solid = [index for index, line in enumerate(axes.lines) if line.get_linestyle() == "-"]
    return [heights(axes, index) for index in solid]


def test_lines_by_hand() -> None:
    published = {("random", "50"): Published(88.8), ("random", "1"): Published(61.2, 3)}
    entry: Callable[[int, int], Lines] = lambda y, x: of_sets(60 + 10 * y + x)  # noqa: E731
    result = curve_study(entry, ("50", "1", "10"), full=scores(80), published=published, subject="MNIST")
    axes = plotted(result)
    assert means(result) == [[61, 62, 60], [71, 72, 70], [81, 82, 80]]
    dashed = [index for index, line in enumerate(axes.lines) if line.get_linestyle() == "--"]
    assert [heights(axes, index) for index in dashed if heights(axes, index)] == [[61.2, 88.8], [80, 80]]
    assert axes.get_title().split("\n")[-1].endswith("another?: MNIST")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trained with", "accuracy, %")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "50"]


def test_few_sets_have_bars_side_by_side() -> None:
    axes = plotted(curve_study(lambda y, x: of_sets(59 + y, 60 + y, 61 + y)))
    rows = bars(axes)
    assert np.array(rows)[:, :, 1:] == pytest.approx(
        np.array([[[60 + y - T, 60 + y + T]] * 6 for y in range(3)]), abs=1e-5
    )
    positions = np.array(rows)[:, :, 0]
    assert (np.diff(positions, axis=0) > 0.005).all(), "one row's bars cover another's"
    assert (np.diff(positions.T.ravel()) > 0).all(), "columns run into each other"
    assert np.asarray(axes.lines[0].get_xdata()) == pytest.approx(positions[0])


def test_five_sets_have_bands() -> None:
    axes = plotted(CASES["bands"])
    bands = [each for each in axes.collections if isinstance(each, PolyCollection)]
    assert len(bands) == 3
    ends = np.asarray(bands[1].get_paths()[0].vertices)[:, 1]
    half = 2.776445 * 2.5**0.5 / 5**0.5  # Student's t of 4 degrees of freedom
    assert (ends.min(), ends.max()) == pytest.approx((67 - half, 72 + half))
    assert not any(bars(axes))


def test_bands_without_width_are_bars() -> None:
    axes = plotted(curve_study(lambda y, x: None if x == 1 else of_sets(*(60 + x + s for s in range(5)))))
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert np.array(bars(axes)) == pytest.approx(np.array([[[0, 62 - half, 62 + half]]] * 3))


def test_intervals_end_where_accuracies_do() -> None:
    (row, *_) = bars(plotted(curve_study(lambda y, x: of_sets(1, 60, 99), ("1",))))
    assert 0 <= row[0][1] < 53.4 < row[0][2] <= 100


def test_single_numbers_have_no_interval() -> None:
    axes = plotted(curve_study(lambda y, x: of_sets(60 + x)))
    assert not any(bars(axes))
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["matching", "herding", "random"]


def test_wide_intervals_leave_room_for_the_points() -> None:
    axes = plotted(curve_study(lambda y, x: of_sets(10, 50, 92) if y else of_sets(70 + x)))
    low, high = axes.get_ylim()
    # Means from 50.67 to 75, intervals from 0 to 100: 40 % of what the means span is added, and a margin.
    assert (low, high) == pytest.approx(
        (50.667 - 0.45 * 24.333 - 0.973, 75 + 0.45 * 24.333 + 0.973), abs=0.01
    )
    ends = {end for row in bars(axes) for bar in row for end in bar[1:]}
    assert sorted(ends) == pytest.approx([low, high])
    carets = [line for line in axes.lines if line.get_marker() in {6, 7}]
    assert sum(len(heights) for heights in (np.asarray(line.get_ydata()) for line in carets)) == 2 * 6 * 2
    narrow = plotted(curve_study(lambda y, x: of_sets(79, 80, 81) if y else of_sets(80)))
    beyond = 0.4 * 5  # percent, less than the interval of 2.48
    margin = 0.5
    assert narrow.get_ylim() == pytest.approx((80 - beyond - margin, 80 + beyond + margin), abs=1e-3)


def test_missing_points_leave_a_gap() -> None:
    first = means(CASES["gaps"])[0]
    assert np.isnan([first[1], first[3]]).all()
    assert [first[index] for index in (0, 2, 4, 5)] == [60, 62, 64, 65]


def test_the_legend_names_all_that_is_plotted() -> None:
    def names(result: StudyResult) -> list[str]:
        legend = plotted(result).get_legend()
        assert legend is not None
        assert legend.get_title().get_text().split() == result.study.row_axis.split()
        return [text.get_text() for text in legend.get_texts()]

    rows = ["matching", "herding", "random"]
    interval = "95 % interval of the mean"
    of_one_set = f"{interval}\n(of a single set: over its networks)"
    assert names(CASES["curves"]) == [*rows, "published", of_one_set]
    assert names(CASES["full"]) == [*rows, "full data set: 99.0 %", of_one_set]
    assert names(curve_study(lambda y, x: of_sets(60, 61))) == [*rows, interval]
    # matplotlib before 3.10 leaves out what begins with an underscore.
    assert names(CASES["long lines"])[2:4] == [" _c", r"\$d\$"]


@pytest.mark.parametrize(
    ("columns", "positions"),
    [
        (("5", "50", "100"), [0, 45 / 95, 1]),
        (("1", "10", "100"), [0, 0.5, 1]),
        (("0.1", "1", "10"), [0, 0.5, 1]),
        (("100", "0.01", "1"), [0, 0.5, 1]),
        (("10", "10.5", "50"), [0, 0.030315, 1]),  # close: log(1.05) / log(5)
        (("0", "1", "50"), [0, 0.02, 1]),  # zero has no logarithm
        (("7",), [0.5]),
    ],
)
def test_wide_or_close_columns_have_a_logarithmic_axis(
    columns: tuple[str, ...], positions: list[float]
) -> None:
    axes = plotted(curve_study(lambda y, x: of_sets(60), columns))
    low, high = axes.get_xlim()
    assert low < 0
    assert high > 1
    (middle,) = [line for line in axes.lines if line.get_marker() == "s" and line.get_linestyle() == "-"]
    assert np.asarray(middle.get_xdata()) == pytest.approx(positions, abs=1e-5)


def test_column_labels_that_would_touch_are_left_out() -> None:
    axes = plotted(CASES["close"])
    assert 3 < len(axes.get_xticklabels()) < 15
    assert axes.get_xticklabels()[0].get_text() == "1000"


@pytest.mark.parametrize("label", ["many", "nan", "inf"])
def test_curves_need_numbers(label: str, tmp_path: Path) -> None:
    message = f"The column '{label}' of made is not a number, but curves .*: choose the plot 'heat map'"
    with pytest.raises(InputError, match=message):
        plot_study(curve_study(columns=("1", label)), tmp_path / "made.png")


def test_many_rows_side_by_side_stay_within_the_axes() -> None:
    rows = [f"row {number}" for number in range(9)]
    axes = plotted(made(rows, ("1", "2"), rising, plot="curves"))
    left, right = axes.get_xlim()
    positions = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    assert len(positions) >= 2 * len(rows)
    assert left < positions.min()
    assert positions.max() < right
