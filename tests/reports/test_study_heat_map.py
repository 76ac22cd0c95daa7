"""Heat maps: the right numbers in the right squares, and readable colours."""

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from datacondense.reports.study_heat_map import _text_colour, heat_map
from datacondense.reports.study_plots import plot_study
from datacondense.studies.differences import EntryResult
from tests.reports.made_studies import TABLES, made, rising, scores


def written(axes: Axes) -> dict[tuple[int, int], list[str]]:
    """Read the numbers in the squares of a heat map, by row and column."""
    found: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        x, y = text.get_position()
        found.setdefault((round(y), round(x)), []).append(text.get_text())
    return found


def test_entries_show_mean_and_deviation() -> None:
    entries: list[list[EntryResult | None]] = [
        [scores(91.54, 0.62), scores(100), None],
        [scores(50, n=1), scores(0, n=0), scores(8)],
    ]
    figure = heat_map(made(("a", "b"), ("x", "y", "z"), lambda y, x: entries[y][x]))
    table = figure.axes[0]
    assert written(table) == {
        (0, 0): ["91.5", "±0.6"],
        (0, 1): ["100.0", "±0.0"],
        (1, 0): ["50.0"],
        (1, 2): ["8.0", "±0.0"],
    }
    assert [label.get_text() for label in table.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in table.get_yticklabels()] == ["a", "b"]
    assert (table.get_xlabel(), table.get_ylabel()) == ("trained with", "condensed with")
    assert (
        table.get_title().replace("\n", " ")
        == "How well does a set condensed with one network train another?"
    )


def test_entries_without_numbers_are_hatched() -> None:
    entries: list[list[EntryResult | None]] = [[None, scores(1)], [scores(2), scores(0, n=0)]]
    figure = heat_map(made(("a", "b"), ("x", "y"), lambda y, x: entries[y][x]))
    hatched = [
        patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_hatch()
    ]
    assert [patch.get_xy() for patch in hatched] == [(-0.5, -0.5), (0.5, 0.5)]


def test_colours_follow_the_means() -> None:
    figure = heat_map(made(("a",), ("x", "y", "z"), lambda y, x: scores([30, 40, 50][x])))
    colours = [to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    assert colours == [to_hex(mpl.colormaps["viridis"](share)) for share in (0.0, 0.5, 1.0)]
    scale = figure.axes[1]
    assert scale.get_xlim() == (30, 50)
    assert scale.get_xlabel() == "accuracy, %"


def test_text_contrasts_with_its_background() -> None:
    assert [_text_colour(mpl.colormaps["viridis"](share)) for share in (0.0, 0.3, 0.7, 1.0)] == [
        "white",
        "white",
        "black",
        "black",
    ]
    figure = heat_map(made(("a",), ("x", "y"), lambda y, x: scores([30, 50][x])))
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "white", "black", "black"]


@pytest.mark.parametrize(("name", "widest"), [("6x6", 2.2), ("3x3", 2.2), ("1x8", 4.5), ("8x1", 1.0)])
def test_tables_have_a_fitting_shape(name: str, widest: float, tmp_path: Path) -> None:
    plot_study(TABLES[name], tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as picture:
        assert widest / 2.2 < picture.width / picture.height < widest
        assert picture.width < 10 * 200


def test_many_columns_are_narrow() -> None:
    figure = heat_map(made(("a",), [f"column {x}" for x in range(20)], rising))
    assert figure.get_figwidth() == pytest.approx(12)
    assert not any(label.get_rotation() for label in figure.axes[0].get_xticklabels())


def test_letters_that_the_font_lacks_are_replaced() -> None:
    rows = [label.get_text() for label in heat_map(TABLES["strange"]).axes[0].get_yticklabels()]
    assert rows == [r"\$a\$", "_b", "??", "c d"]
