"""Studies with made-up numbers, and how to read their plots."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Entry, Published, Study

NETWORKS = ("MLP", "ConvNet", "LeNet", "AlexNet", "VGG", "ResNet")
IPCS = ("1", "10", "20", "30", "40", "50")
LONG = (
    "a very long label of a set, with all the settings that it was made with",
    "ANameWithout_AnyBreakInIt" * 2,
)


def scores(mean: float, std: float = 0.0, n: int = 2) -> EntryResult:
    """Return an entry of one or two networks with a mean and a deviation in percent."""
    step = std / 2**0.5
    values = [mean - step, mean + step][:n] if n > 1 else [mean] * n
    return EntryResult(
        accuracies={(0, repeat): value / 100 for repeat, value in enumerate(values)}, missing=2 - n
    )


def made(
    rows: Sequence[str],
    columns: Sequence[str],
    entry: Callable[[int, int], EntryResult | None],
    full: EntryResult | None = None,
    **settings: Any,
) -> StudyResult:
    """Return a study from a function of row and column; None leaves an entry out."""
    found = {(row, column): entry(y, x) for y, row in enumerate(rows) for x, column in enumerate(columns)}
    entries: dict[Entry, EntryResult] = {
        labels: value for labels, value in found.items() if value is not None
    }
    study: dict[str, Any] = {
        "name": "made",
        "title": "How well does a set condensed with one network train another?",
        "rows": tuple(rows),
        "columns": tuple(columns),
        "row_axis": "condensed with",
        "column_axis": "trained with",
        "entries": dict.fromkeys(entries, ()),
    }
    return StudyResult(study=Study(**{**study, **settings}), entries=entries, full=full, environments=())


def rising(y: int, x: int) -> EntryResult:
    return scores(60 + 5 * y + x, 1.5)


def curve_study(
    entry: Callable[[int, int], EntryResult | None] = rising, columns: Sequence[str] = IPCS, **settings: Any
) -> StudyResult:
    return made(("matching", "herding", "random"), columns, entry, plot="curves", **settings)


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
    "curves": curve_study(
        published={("matching", "1"): Published(91.7), ("matching", "10"): Published(97.4, 0.2)}
    ),
    "relative": curve_study(full=scores(99, 0.1)),
    "gaps": curve_study(lambda y, x: None if x == 1 else scores(60 + x, 1, n=0 if x == 3 else 2)),
    "close": curve_study(columns=("1", "2", "5", "10", "50", "100", "1000")),
    "closer": curve_study(columns=tuple(str(x) for x in range(1000, 1090, 2))),
    "one column": curve_study(columns=("10",)),
    "no numbers": curve_study(lambda y, x: scores(0, n=0)),
    "long lines": made(
        (*LONG, "_c", "$d$"),
        IPCS,
        rising,
        full=scores(99),
        plot="curves",
        title="A long title " * 12,
        row_axis="r " * 60,
    ),
}


def of_sets(*means: float) -> EntryResult:
    """Return an entry of one network on each set, from accuracies in percent."""
    return EntryResult(accuracies={(seed, 0): mean / 100 for seed, mean in enumerate(means)}, missing=0)


def differences(
    entry: Callable[[int, int], EntryResult | None],
    rows: Sequence[str] = ("plain", "mean", "max"),
    columns: Sequence[str] = ("ConvNet",),
    **settings: Any,
) -> StudyResult:
    """Return a study whose rows are paired with the first."""
    paired = {(row, column): (rows[0], column) for row in rows[1:] for column in columns}
    return made(rows, columns, entry, **{"plot": "differences", "paired": paired} | settings)


def around(y: int, x: int) -> EntryResult:
    return of_sets(80 + y + x, 81 + 0.7 * y, 79 - 0.1 * y * x)


DIFFERENCES = {
    "one panel": differences(around),
    "five panels": differences(around, columns=NETWORKS[:5]),
    "large": differences(lambda y, x: of_sets(89 - 33 * y, 90 - 32 * y, 89 - 33 * y), columns=NETWORKS[:2]),
    "single set": differences(lambda y, x: of_sets(80 + y)),
    "unfinished": differences(lambda y, x: scores(0, n=0), columns=NETWORKS[:4]),
    "long differences": differences(
        around,
        rows=("plain", *LONG),
        columns=("a long label " * 6, "b", "c", "another long label " * 6),
        title="A long title " * 12,
    ),
}


def texts(figure: Figure) -> list[Text]:
    """Render, and return the visible texts."""
    found: list[Text] = []
    canvas: Any = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: found.append(text))
        canvas.draw()
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def line(axes: Axes, index: int) -> list[tuple[float, float]]:
    """Return the points of a line, rounded."""
    points: list[list[float]] = np.asarray(axes.lines[index].get_xydata()).round(6).tolist()
    return [(x, y) for x, y in points]
