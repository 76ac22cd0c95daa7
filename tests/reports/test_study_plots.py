"""Plots of studies: the right numbers in the right places, no overlaps, nothing cut off, equal bytes."""

from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from PIL import Image

from datacondense.errors import InputError
from datacondense.reports.study_plots import PLOTS, differences, heat_map, plot_study, text_colour
from datacondense.studies.results import StudyResult
from tests.reports.made_studies import CASES, Lines, boxes, made, of_sets, paired_study, rising, scores

BY_HAND = paired_study(
    lambda y, x: [
        of_sets(80, 81, 82),
        of_sets(81.9, 83, 84.1),  # 1.9, 2, 2.1 above
        of_sets(75.1, 76, 76.9),  # 4.9, 5, 5.1 below
        of_sets(81, 80, 82),  # 1, -1, 0
    ][y],
    rows=("plain", "better", "worse", "same"),
)


@pytest.mark.parametrize("name", CASES)
def test_no_text_lies_over_another(name: str) -> None:
    found = boxes(PLOTS[CASES[name].study.plot](CASES[name]))
    assert len(found) > 2
    for (one, box), (other, other_box) in combinations(found, 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one!r} lies over {other!r}"


CUT = ["6x6", "1x8", "1x1", "long", "strange", "full", "long lines", "five panels", "long differences"]


@pytest.mark.parametrize("name", CUT)
def test_plots_are_not_cut_off(name: str, tmp_path: Path) -> None:
    plot_study(CASES[name], tmp_path / "new" / "picture")
    with Image.open(tmp_path / "new" / "picture") as picture:
        assert picture.format == "PNG"
        assert "Software" not in picture.info
        pixels = np.asarray(picture.convert("RGB"))
    assert all((edge == 255).all() for edge in (pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]))
    assert pixels.std() > 5


@pytest.mark.parametrize("name", ["6x6", "full", "bands", "five panels"])
def test_equal_results_give_equal_bytes(name: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for path in (tmp_path / "one.png", tmp_path / "two.png"):
        plot_study(CASES[name], path)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert dict(mpl.rcParams) == before


def test_squares_show_mean_and_deviation() -> None:
    entries: list[list[Lines | None]] = [
        [scores(91.54, 0.62), scores(100), None],
        [scores(50, n=1), scores(0, n=0), scores(8)],
    ]
    table = heat_map(made(("a", "b"), ("x", "y", "z"), lambda y, x: entries[y][x], subject="MNIST")).axes[0]
    found = {text.get_position(): text.get_text() for text in table.texts}
    assert found == {(0, 0): "91.5\n±0.6", (1, 0): "100.0\n±0.0", (0, 1): "50.0", (2, 1): "8.0\n±0.0"}
    assert [label.get_text() for label in table.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in table.get_yticklabels()] == ["a", "b"]
    assert (table.get_xlabel(), table.get_ylabel()) == ("trained with", "condensed with")
    title = table.get_figure()
    assert isinstance(title, Figure)
    heading = "How well does a set condensed with one network train another?: MNIST"
    assert title.get_suptitle().replace("\n", " ") == heading


def test_colours_follow_the_means_and_lack_where_there_are_none() -> None:
    entries = [scores(30), scores(40), scores(0, n=0), scores(50)]
    table, scale = heat_map(made(("a",), "xyzw", lambda y, x: entries[x])).axes
    (mesh,) = table.collections
    assert isinstance(mesh, QuadMesh)
    means: Any = np.ma.asarray(mesh.get_array())
    assert means.mask.tolist() == [[False, False, True, False]]
    assert [mesh.norm(mean) for mean in means.compressed()] == [0, 0.5, 1]
    assert table.patch.get_hatch()
    assert scale.get_xlim() == (30, 50)
    assert scale.get_xlabel() == "accuracy, %"
    shades = [mpl.colormaps["viridis"](share) for share in (0.0, 0.3, 0.7, 1.0)]
    assert [text_colour(shade) for shade in shades] == ["white", "white", "black", "black"]
    colours = ["white", text_colour(mesh.to_rgba(np.array(40.0))), "black"]
    assert [text.get_color() for text in table.texts] == colours


def test_letters_that_the_font_lacks_are_replaced() -> None:
    rows = [label.get_text() for label in heat_map(CASES["strange"]).axes[0].get_yticklabels()]
    assert rows == [r"\$a\$", "_b", "??", "c d"]


def points(axes: Axes) -> list[tuple[float, float, str]]:
    """Return coordinates and marker of the points of a panel."""
    found = [line for line in axes.lines if line.get_marker() != "None"]
    return [(*np.asarray(line.get_xydata()).round(6).tolist()[0], str(line.get_marker())) for line in found]


def intervals(axes: Axes) -> list[list[float]]:
    """Return the height and both ends of the intervals of a panel."""
    lines = [line for line in axes.collections if isinstance(line, LineCollection)]
    segments = [np.asarray(line.get_segments()[0]) for line in lines]
    return [[segment[0, 1], *segment[:, 0]] for segment in segments]


def legend(result: StudyResult) -> list[str]:
    """Read the legend of a plot, heading first."""
    found = [box for axes in differences(result).axes if (box := axes.get_legend()) is not None]
    return [text.get_text() for box in found for text in (box.get_title(), *box.get_texts())]


def test_differences_by_hand() -> None:
    (axes,) = differences(BY_HAND).axes
    assert points(axes) == [(2, 0, "o"), (-5, 1, "s"), (0, 2, "o")]
    half = 4.302653 / 3**0.5  # Student's t of 2 degrees of freedom, over the root of the number of sets
    expected = [[0, 2 - 0.1 * half, 2 + 0.1 * half], [1, -5 - 0.1 * half, -5 + 0.1 * half], [2, -half, half]]
    assert np.array(intervals(axes)) == pytest.approx(np.array(expected), abs=1e-6)
    assert [text.get_text() for text in axes.texts] == ["+2.00", "-5.00", "+0.00"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse", "same"]
    assert axes.get_ylim() == (2.5, -0.5)
    assert legend(BY_HAND) == ["95 % interval", "gain", "undecided", "loss"]


def test_each_column_has_a_panel_three_beside_each_other() -> None:
    figure = differences(CASES["five panels"])
    figure.draw_without_rendering()
    one, two, three, four, five = [axes.bbox for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["MLP", "ConvNet", "LeNet", "AlexNet", "VGG"]
    assert one.xmax < two.xmin < two.xmax < three.xmin
    assert [four.xmin, five.xmin] == pytest.approx([one.xmin, two.xmin])
    assert four.ymax < one.ymin
    # One scale for all, rows named once on each line.
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    rows = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert rows == [["mean", "max"], ["", ""], ["", ""], ["mean", "max"], ["", ""]]
    assert [len(points(axes)) for axes in figure.axes] == [2] * 5


def test_the_axis_names_what_is_compared() -> None:
    assert differences(BY_HAND).get_supxlabel() == 'accuracy above that of "plain", points'
    large = differences(CASES["large"]).get_supxlabel().replace("\n", " ")
    assert large == 'accuracy above that of "plain", points (logarithmic beyond ±1)'
    along = made(("a",), ("1", "2"), rising, plot="differences", paired={("a", "1"): ("a", "2")})
    unit = "accuracy above that of the paired entry, points"
    assert differences(along).get_supxlabel().replace("\n", " ") == unit


def test_large_differences_leave_small_ones_visible() -> None:
    (small,) = differences(BY_HAND).axes
    large = differences(CASES["large"]).axes[0]
    assert (small.get_xscale(), large.get_xscale()) == ("linear", "symlog")
    low, high = large.get_xlim()
    assert -110 < low < -66
    assert 0 < high < 1
    ticks = [label.get_text() for label in large.get_xticklabels()]
    assert ticks == ["-100", "-10", "-1", "0", "+1", "+10", "+100"]
    assert "0" in [label.get_text() for label in small.get_xticklabels()]


@pytest.mark.parametrize(
    ("sets", "smallest", "largest"),
    [
        ((10, 90), 100, 250),  # the interval is ±508, but no accuracies differ by that much
        ((50, 50), 0.1, 0.112),
    ],
)
def test_the_axis_holds_zero_and_only_possible_differences(
    sets: tuple[float, float], smallest: float, largest: float
) -> None:
    low, high = (
        differences(paired_study(lambda y, x: of_sets(*sets) if y else of_sets(50, 50))).axes[0].get_xlim()
    )
    assert -largest <= low <= -smallest
    assert smallest <= high <= largest


def test_a_single_set_has_no_interval() -> None:
    (axes,) = differences(CASES["single set"]).axes
    assert points(axes) == [(1, 0, "D"), (2, 1, "D")]
    assert not intervals(axes)
    assert legend(CASES["single set"]) == ["", "single set"]


def test_unfinished_entries_leave_their_line_empty() -> None:
    figure = differences(CASES["unfinished"])
    assert [points(axes) for axes in figure.axes] == [[]] * 4
    assert not legend(CASES["unfinished"])
    (axes,) = differences(paired_study(lambda y, x: of_sets() if y == 1 else of_sets(80, 81 + y))).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mean", "max"]
    assert [(x, y) for x, y, _ in points(axes)] == [(1, 1)]


def test_only_paired_rows_and_columns_are_plotted() -> None:
    paired = {("b", "y"): ("a", "y")}
    (axes,) = differences(made("abc", "xy", rising, plot="differences", paired=paired)).axes
    assert (axes.get_title(), len(points(axes))) == ("y", 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b"]


def test_differences_need_pairs(tmp_path: Path) -> None:
    message = r"made is plotted as differences, but pairs no entries: .* 'heat map'"
    with pytest.raises(InputError, match=message):
        plot_study(made(("a",), ("b",), rising, plot="differences"), tmp_path / "made.png")
    assert not list(tmp_path.iterdir())
