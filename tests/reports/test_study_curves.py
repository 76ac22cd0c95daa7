"""Curves: lines, intervals and axes by hand."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from datacondense.errors import InputError
from datacondense.reports.study_curves import _apart, curves
from datacondense.reports.study_plots import plot_study
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Published
from tests.reports.made_studies import IPCS, LINES, curve_study, line, of_sets, scores, texts


def test_lines_by_hand() -> None:
    published = {("random", "50"): Published(88.8), ("random", "1"): Published(61.2, 3)}
    figure = curves(
        curve_study(
            lambda y, x: scores(60 + 10 * y + x, 2), ("50", "1", "10"), full=scores(80), published=published
        )
    )
    accuracy, relative = figure.axes
    assert line(accuracy, 0) == [(1, 61), (10, 62), (50, 60)]
    assert line(accuracy, 2) == [(1, 81), (10, 82), (50, 80)]
    assert line(relative, 2) == [(1, 101.25), (10, 102.5), (50, 100)]
    assert line(accuracy, 5) == [(1, 61.2), (50, 88.8)]
    assert [entry.get_linestyle() for entry in accuracy.lines] == ["-"] * 3 + ["--"] * 3
    assert accuracy.lines[5].get_color() == accuracy.lines[2].get_color()
    assert len({entry.get_color() for entry in accuracy.lines}) == 3
    assert len(relative.lines) == 3
    assert (accuracy.get_ylabel(), relative.get_ylabel()) == (
        "accuracy, %",
        "relative to the full data set, %",
    )
    assert {axes.get_xlabel() for axes in figure.axes} == {"trained with"}


def band(result: StudyResult, row: int = 0) -> tuple[float, float]:
    """Return the lowest and the highest point of a row's band."""
    (path,) = curves(result).axes[0].collections[row].get_paths()
    heights = np.asarray(path.vertices)[:, 1]
    return heights.min(), heights.max()


def test_band_is_the_interval_of_the_mean() -> None:
    entry = of_sets(
        59, 60, 61
    )  # Student's t of 2 degrees of freedom is 4.3027, the error of the mean 1 / sqrt(3)
    half = 4.302653 / 3**0.5
    assert band(curve_study(lambda y, x: entry)) == pytest.approx((60 - half, 60 + half))


def test_bands_end_where_accuracies_do() -> None:
    assert band(curve_study(lambda y, x: of_sets(1, 60, 99))) == (0, 100)


def test_single_numbers_have_no_band() -> None:
    figure = curves(curve_study(lambda y, x: of_sets(60 + x)))
    assert not [path for band in figure.axes[0].collections for path in band.get_paths()]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["matching", "herding", "random"]


def test_wide_bands_leave_room_for_the_lines() -> None:
    (axes,) = curves(curve_study(lambda y, x: of_sets(10, 50, 92) if y else of_sets(70 + x))).axes
    # Means from 50.67 to 75: the bands, from 0 to 100, add what these span and no more.
    assert axes.get_ylim() == pytest.approx((50.6667 - 24.3333, 75 + 24.3333), abs=1e-3)
    (narrow,) = curves(curve_study(lambda y, x: of_sets(79, 80, 81) if y else of_sets(80))).axes
    assert narrow.get_ylim() == pytest.approx((80 - 2.4842 * 1.1, 80 + 2.4842 * 1.1), abs=1e-3)


def test_missing_points_leave_a_gap() -> None:
    (axes,) = curves(LINES["gaps"]).axes
    heights = [y for _, y in line(axes, 0)]
    assert [y for y in heights if not np.isnan(y)] == [60, 62, 64, 65]
    assert np.isnan([heights[1], heights[3]]).all()
    alone = [entry for entry in axes.collections if isinstance(entry, LineCollection)]
    assert len(alone) == 2 * 3  # the first and the third point of each row
    low, high = scores(60, 1).interval
    assert np.asarray(alone[0].get_segments()).ravel() == pytest.approx([1, 100 * low, 1, 100 * high])


def test_legend_names_rows_and_published_numbers() -> None:
    def names(result: StudyResult) -> list[str]:
        legend = curves(result).axes[-1].get_legend()
        assert legend is not None
        assert legend.get_title().get_text().split() == result.study.row_axis.split()
        return [text.get_text() for text in legend.get_texts()]

    rows = ["matching", "herding", "random"]
    interval = "95 % interval of the mean"
    of_one_set = f"{interval}\n(of a single set: over its networks)"
    assert names(LINES["curves"]) == [*rows, "published", of_one_set]
    assert names(LINES["relative"]) == [*rows, of_one_set]
    assert names(curve_study(lambda y, x: of_sets(60, 61))) == [*rows, interval]
    # matplotlib before 3.10 leaves out what begins with an underscore.
    assert names(LINES["long lines"])[2:4] == [" _c", r"\$d\$"]


@pytest.mark.parametrize("name", ["curves", "relative", "long lines"])
def test_title_is_above_the_panels(name: str) -> None:
    figure = curves(LINES[name])
    drawn_texts = texts(figure)
    (title,) = figure.texts
    assert title in drawn_texts
    box = title.get_window_extent()
    assert all(box.ymin > axes.bbox.ymax for axes in figure.axes)
    assert figure.axes[0].bbox.xmin <= box.xmin < box.xmax <= figure.axes[-1].bbox.xmax


@pytest.mark.parametrize(
    ("columns", "scale"),
    [
        (IPCS, "log"),
        (("5", "50", "100"), "linear"),
        (("4.9", "50", "100"), "log"),
        (("10", "10.5", "50"), "log"),
        (("100", "0.25", "1"), "log"),
        (("0", "1", "50"), "linear"),
        (("7",), "linear"),
    ],
)
def test_wide_or_close_columns_have_a_logarithmic_axis(columns: tuple[str, ...], scale: str) -> None:
    (axes,) = curves(curve_study(columns=columns)).axes
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    numbers = [float(column) for column in columns]
    assert low < min(numbers) <= max(numbers) < high


def test_column_labels_that_would_touch_are_left_out() -> None:
    assert _apart(["1", "2", "3"], [1, 2, 3]) == ["1", "2", "3"]
    assert _apart(["1", "2", "100"], [1, 2, 100]) == ["1", "100"]


@pytest.mark.parametrize("label", ["many", "nan", "inf"])
def test_curves_need_numbers(label: str, tmp_path: Path) -> None:
    message = f"The column '{label}' of made is not a number, but curves .*: choose the plot 'heat map'"
    with pytest.raises(InputError, match=message):
        plot_study(curve_study(columns=("1", label)), tmp_path / "made.png")
