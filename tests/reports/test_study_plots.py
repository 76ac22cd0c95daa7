"""Pictures of studies: the right numbers in the right places, nothing over anything else, nothing cut off."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from datacondense.errors import InputError
from datacondense.reports.study_plots import _apart, _curves, _heat_map, _text_colour, draw_study
from datacondense.studies.results import EntryResult, StudyResult
from datacondense.studies.study import Entry, Published, Study

NETWORKS = ("MLP", "ConvNet", "LeNet", "AlexNet", "VGG", "ResNet")
IPCS = ("1", "10", "20", "30", "40", "50")
LONG = (
    "a very long label of a set, with all the settings that it was made with",
    "ANameWithout_AnyBreakInIt" * 2,
)


def scores(mean: float, std: float = 0.0, n: int = 2) -> EntryResult:
    """Make an entry of one or two networks with a mean and a deviation in percent."""
    step = std / 2**0.5
    values = [mean - step, mean + step][:n] if n > 1 else [mean] * n
    return EntryResult(
        accuracies={(0, repeat): value / 100 for repeat, value in enumerate(values)}, missing=2 - n
    )


def made(
    rows: Sequence[str],
    columns: Sequence[str],
    entry: Callable[[int, int], EntryResult | None],
    whole: EntryResult | None = None,
    **settings: Any,
) -> StudyResult:
    """Make a study from a function of row and column; None leaves an entry out."""
    found = {(row, column): entry(y, x) for y, row in enumerate(rows) for x, column in enumerate(columns)}
    entries: dict[Entry, EntryResult] = {place: value for place, value in found.items() if value is not None}
    study: dict[str, Any] = {
        "name": "made",
        "title": "How well does a set condensed with one network train another?",
        "rows": tuple(rows),
        "columns": tuple(columns),
        "row_axis": "condensed with",
        "column_axis": "trained with",
        "entries": dict.fromkeys(entries, ()),
    }
    return StudyResult(study=Study(**{**study, **settings}), entries=entries, whole=whole, environments=())


def rising(y: int, x: int) -> EntryResult:
    return scores(60 + 5 * y + x, 1.5)


def curves(
    entry: Callable[[int, int], EntryResult | None] = rising, columns: Sequence[str] = IPCS, **settings: Any
) -> StudyResult:
    return made(("matching", "herding", "random"), columns, entry, drawing="curves", **settings)


TABLES = {
    "6x6": made(NETWORKS, NETWORKS, lambda y, x: None if (y, x) == (0, 4) else rising(y, x)),
    "3x3": made(("none", "max", "average"), ("none", "max", "average"), rising),
    "1x8": made(("gradient matching",), [str(2**x) for x in range(8)], rising),
    "8x1": made([f"method {y}" for y in range(8)], ("accuracy",), rising),
    "1x1": made(("a",), ("b",), lambda y, x: scores(50, n=1)),
    "nothing": made(NETWORKS, NETWORKS, lambda y, x: scores(0, n=0)),
    "long": made(
        (*LONG, "c"),
        (*LONG, "c"),
        rising,
        title="A long title " * 9,
        row_axis="rows " * 30,
        column_axis="columns " * 30,
    ),
    "long words": made(("a", "b"), [f"AName{x}WithoutAnyBreak" for x in range(8)], rising),
    "many lines": made(("a long label " * 20, "another label " * 20), ("x",), rising),
    "strange": made(("$a$", "_b", "日本", "c\nd"), ("$\\frac", "x|y", " "), rising, title="$5 or $6?"),
}
LINES = {
    "curves": curves(
        published={("matching", "1"): Published(91.7), ("matching", "10"): Published(97.4, 0.2)}
    ),
    "relative": curves(whole=scores(99, 0.1)),
    "gaps": curves(lambda y, x: None if x == 1 else scores(60 + x, 1, n=0 if x == 3 else 2)),
    "close": curves(columns=("1", "2", "5", "10", "50", "100", "1000")),
    "closer": curves(columns=tuple(str(x) for x in range(1000, 1090, 2))),
    "one column": curves(columns=("10",)),
    "no numbers": curves(lambda y, x: scores(0, n=0)),
    "long lines": made(
        (*LONG, "_c", "$d$"),
        IPCS,
        rising,
        whole=scores(99),
        drawing="curves",
        title="A long title " * 12,
        row_axis="r " * 60,
    ),
}
ALL = [pytest.param(result, id=name) for name, result in (TABLES | LINES).items()]


def texts(figure: Figure) -> list[Text]:
    """Draw, and give the texts that come out."""
    found: list[Text] = []
    canvas: Any = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: found.append(text))
        canvas.draw()
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def written(axes: Axes) -> dict[tuple[int, int], list[str]]:
    """Read the numbers in the cells of a heat map, by row and column."""
    found: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        x, y = text.get_position()
        found.setdefault((round(y), round(x)), []).append(text.get_text())
    return found


def drawn(result: StudyResult) -> Figure:
    return _curves(result) if result.study.drawing == "curves" else _heat_map(result)


@pytest.mark.parametrize("name", ["6x6", "1x8", "1x1", "long", "strange", "relative", "long lines"])
def test_picture_is_whole(name: str, tmp_path: Path) -> None:
    draw_study((TABLES | LINES)[name], tmp_path / "new" / "picture")
    with Image.open(tmp_path / "new" / "picture") as picture:
        assert picture.format == "PNG"
        assert round(picture.info["dpi"][0]) == 200
        assert "Software" not in picture.info
        pixels = np.asarray(picture.convert("RGB"))
    edges = np.concatenate([
        pixels[:8].reshape(-1, 3),
        pixels[-8:].reshape(-1, 3),
        pixels[:, :8].reshape(-1, 3),
    ])
    assert (edges == 255).all()
    assert (pixels[:, -8:] == 255).all()
    assert pixels.std() > 5


@pytest.mark.parametrize("result", ALL)
def test_no_text_lies_over_another(result: StudyResult) -> None:
    figure = drawn(result)
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in texts(figure)
        if text.get_rotation() in {0, 90}  # boxes of turned texts overlap where the texts do not
    ]
    assert len(boxes) > 2
    for (one, box), (other, other_box) in combinations(boxes, 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one!r} lies over {other!r}"


def test_cells_show_mean_and_deviation() -> None:
    entries: list[list[EntryResult | None]] = [
        [scores(91.54, 0.62), scores(100), None],
        [scores(50, n=1), scores(0, n=0), scores(8)],
    ]
    figure = _heat_map(made(("a", "b"), ("x", "y", "z"), lambda y, x: entries[y][x]))
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
    figure = _heat_map(made(("a", "b"), ("x", "y"), lambda y, x: entries[y][x]))
    hatched = [
        patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_hatch()
    ]
    assert [patch.get_xy() for patch in hatched] == [(-0.5, -0.5), (0.5, 0.5)]


def test_colours_follow_the_means() -> None:
    figure = _heat_map(made(("a",), ("x", "y", "z"), lambda y, x: scores([30, 40, 50][x])))
    colours = [to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    assert colours == [to_hex(mpl.colormaps["viridis"](share)) for share in (0.0, 0.5, 1.0)]
    scale = figure.axes[1]
    assert scale.get_xlim() == (30, 50)
    assert scale.get_xlabel() == "accuracy, %"


def test_text_contrasts_with_its_cell() -> None:
    assert [_text_colour(mpl.colormaps["viridis"](share)) for share in (0.0, 0.3, 0.7, 1.0)] == [
        "white",
        "white",
        "black",
        "black",
    ]
    figure = _heat_map(made(("a",), ("x", "y"), lambda y, x: scores([30, 50][x])))
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "white", "black", "black"]


@pytest.mark.parametrize(("name", "widest"), [("6x6", 2.2), ("3x3", 2.2), ("1x8", 4.5), ("8x1", 1.0)])
def test_tables_have_a_fitting_shape(name: str, widest: float, tmp_path: Path) -> None:
    draw_study(TABLES[name], tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as picture:
        assert widest / 2.2 < picture.width / picture.height < widest
        assert picture.width < 10 * 200


def test_many_columns_are_narrow() -> None:
    figure = _heat_map(made(("a",), [f"column {x}" for x in range(20)], rising))
    assert figure.get_figwidth() == pytest.approx(12)
    assert not any(label.get_rotation() for label in figure.axes[0].get_xticklabels())


def line(axes: Axes, index: int) -> list[tuple[float, float]]:
    """Give the points of a line, rounded."""
    points: list[list[float]] = np.asarray(axes.lines[index].get_xydata()).round(6).tolist()
    return [(x, y) for x, y in points]


def test_lines_by_hand() -> None:
    published = {("random", "50"): Published(88.8), ("random", "1"): Published(61.2, 3)}
    figure = _curves(
        curves(
            lambda y, x: scores(60 + 10 * y + x, 2), ("50", "1", "10"), whole=scores(80), published=published
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
        "relative to the whole data set, %",
    )
    assert {axes.get_xlabel() for axes in figure.axes} == {"trained with"}


def test_band_is_one_deviation() -> None:
    (axes,) = _curves(curves(lambda y, x: scores(60, 2) if y == 0 else None)).axes
    (vertices,) = (path.vertices for path in axes.collections[0].get_paths())
    heights = np.asarray(vertices)[:, 1]
    assert (heights.min().round(6), heights.max().round(6)) == (58, 62)


def test_missing_points_leave_a_gap() -> None:
    (axes,) = _curves(LINES["gaps"]).axes
    heights = [y for _, y in line(axes, 0)]
    assert [y for y in heights if not np.isnan(y)] == [60, 62, 64, 65]
    assert np.isnan([heights[1], heights[3]]).all()
    alone = [entry for entry in axes.collections if isinstance(entry, LineCollection)]
    assert len(alone) == 2 * 3  # the first and the third point of each row
    assert np.asarray(alone[0].get_segments()).round(6).tolist() == [[[1, 59], [1, 61]]]


def test_legend_names_rows_and_what_was_published() -> None:
    def names(result: StudyResult) -> list[str]:
        legend = _curves(result).axes[-1].get_legend()
        assert legend is not None
        assert legend.get_title().get_text().split() == result.study.row_axis.split()
        return [text.get_text() for text in legend.get_texts()]

    assert names(LINES["curves"]) == ["matching", "herding", "random", "published"]
    assert names(LINES["relative"]) == ["matching", "herding", "random"]
    # matplotlib before 3.10 leaves out what begins with an underscore.
    assert names(LINES["long lines"])[2:] == [" _c", r"\$d\$"]


@pytest.mark.parametrize("name", ["curves", "relative", "long lines"])
def test_title_stands_above_the_panels(name: str) -> None:
    figure = _curves(LINES[name])
    drawn_texts = texts(figure)
    (title,) = figure.texts
    assert title in drawn_texts
    box = title.get_window_extent()
    assert all(box.ymin > axes.bbox.ymax for axes in figure.axes)
    assert figure.axes[0].bbox.xmin <= box.xmin < box.xmax <= figure.axes[-1].bbox.xmax


@pytest.mark.parametrize(
    ("columns", "scale"),
    [
        (IPCS, "linear"),
        (("1", "10", "50"), "linear"),
        (("1", "2", "50"), "log"),
        (("0", "1", "50"), "linear"),
        (("7",), "linear"),
    ],
)
def test_close_columns_stand_on_a_logarithmic_axis(columns: tuple[str, ...], scale: str) -> None:
    (axes,) = _curves(curves(columns=columns)).axes
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < float(columns[0]) <= float(columns[-1]) < high


def test_labels_of_columns_that_would_touch_are_left_out() -> None:
    assert _apart(["1", "2", "3"], [1, 2, 3]) == ["1", "2", "3"]
    assert _apart(["1", "2", "100"], [1, 2, 100]) == ["1", "100"]


@pytest.mark.parametrize("label", ["many", "nan", "inf"])
def test_curves_want_numbers(label: str, tmp_path: Path) -> None:
    message = f"The column '{label}' of made is no number, but curves .*: choose the drawing 'heat map'"
    with pytest.raises(InputError, match=message):
        draw_study(curves(columns=("1", label)), tmp_path / "made.png")


def test_letters_that_the_font_lacks_are_replaced() -> None:
    rows = [label.get_text() for label in _heat_map(TABLES["strange"]).axes[0].get_yticklabels()]
    assert rows == [r"\$a\$", "_b", "??", "c d"]


@pytest.mark.parametrize("name", ["3x3", "relative"])
def test_same_result_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "one.png", tmp_path / "two.png"):
        draw_study((TABLES | LINES)[name], path)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_settings_of_matplotlib_are_left_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    draw_study(TABLES["3x3"], tmp_path / "made.png")
    draw_study(LINES["relative"], tmp_path / "made.png")
    assert dict(mpl.rcParams) == before


def test_importing_loads_no_matplotlib() -> None:
    program = "import sys, datacondense.reports.study_plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
