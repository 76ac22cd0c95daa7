"""Studies with made-up numbers."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from datacondense.reports.study_page import csv_text
from datacondense.studies.results import COLUMNS, FULL, StudyResult
from datacondense.studies.study import Entry, Published, Study

Lines = list[dict[str, Any]]  # of the frame, one for each network

NETWORKS = ("MLP", "ConvNet", "LeNet", "AlexNet", "VGG", "ResNet")
IPCS = ("1", "10", "20", "30", "40", "50")
LONG = (
    "a very long label of a set, with all the settings that it was made with",
    "ANameWithout_AnyBreakInIt" * 2,
)


def networks(*sets: Sequence[float], missing: int = 0, keys: Sequence[str] = (), **numbers: Any) -> Lines:
    """Return an entry from the accuracies of the networks on each set, in percent, and numbers of each set."""
    lines = [
        {
            "seed": seed,
            "network": network,
            "accuracy": value / 100,
            "set": keys[seed] if keys else str(seed),
            **{name: values[seed] for name, values in numbers.items() if seed < len(values)},
        }
        for seed, values in enumerate(sets)
        for network, value in enumerate(values)
    ]
    return lines + [{"seed": -1, "network": index, "set": ""} for index in range(missing)]


def of_sets(*means: float, **numbers: Any) -> Lines:
    """Return an entry of one network on each set, from accuracies in percent."""
    return networks(*([mean] for mean in means), **numbers)


def scores(mean: float, std: float = 0.0, n: int = 2) -> Lines:
    """Return an entry of up to two networks on one set, from mean and deviation in percent."""
    step = std / 2**0.5 if n > 1 else 0.0
    return networks([mean - step, mean + step][:n], missing=2 - n)


def study(entries: dict[Entry, Lines], full: Lines | None = None, **settings: Any) -> StudyResult:
    """Return a study of two rows and two columns, unless told otherwise."""
    declared: dict[str, Any] = {
        "name": "made",
        "title": "What is best?",
        "rows": ("a", "b"),
        "columns": ("x", "y"),
        "row_axis": "set",
        "column_axis": "network",
        "entries": {},
    }
    environments = settings.pop("environments", ())
    lines = [
        {"row": row, "column": column, **line}
        for (row, column), each in [*entries.items(), ((FULL, "all"), full or [])]
        for line in each
    ]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    return StudyResult(study=Study(**declared | settings), frame=frame, environments=environments)


def made(
    rows: Sequence[str],
    columns: Sequence[str],
    entry: Callable[[int, int], Lines | None],
    full: Lines | None = None,
    **settings: Any,
) -> StudyResult:
    """Return a study from a function of row and column; None leaves an entry out."""
    found = {(row, column): entry(y, x) for y, row in enumerate(rows) for x, column in enumerate(columns)}
    declared: dict[str, Any] = {
        "title": "How well does a set condensed with one network train another?",
        "row_axis": "condensed with",
        "column_axis": "trained with",
    }
    known = {labels: lines for labels, lines in found.items() if lines is not None}
    return study(known, full, rows=tuple(rows), columns=tuple(columns), **declared | settings)


def rising(y: int, x: int) -> Lines:
    return scores(60 + 5 * y + x, 1.5)


def curve_study(
    entry: Callable[[int, int], Lines | None] = rising, columns: Sequence[str] = IPCS, **settings: Any
) -> StudyResult:
    return made(("matching", "herding", "random"), columns, entry, plot="curves", **settings)


def paired_study(
    entry: Callable[[int, int], Lines | None],
    rows: Sequence[str] = ("plain", "mean", "max"),
    columns: Sequence[str] = ("ConvNet",),
    **settings: Any,
) -> StudyResult:
    """Return a study whose rows are paired with the first."""
    paired = {(row, column): (rows[0], column) for row in rows[1:] for column in columns}
    return made(rows, columns, entry, **{"plot": "differences", "paired": paired} | settings)


def around(y: int, x: int) -> Lines:
    return of_sets(80 + y + x, 81 + 0.7 * y, 79 - 0.1 * y * x)


def table_of(page: str, heading: str = "# What is best?") -> list[list[str]]:
    """Read the lines of the first table below a heading."""
    below = page[page.index(f"{heading}\n") :]
    lines = below[below.index("\n|") + 1 :].split("\n\n")[0].splitlines()[2:]
    return [
        [text.strip() for text in line.removeprefix("| ").removesuffix(" |").split(" | ")] for line in lines
    ]


def rows_of(result: StudyResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(result))))


def boxes(figure: Figure) -> list[tuple[str, Any]]:
    """Render, and return the visible texts with their boxes."""
    found: list[Text] = []
    canvas: Any = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: found.append(text))
        canvas.draw()
    shown = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


CASES = {
    "6x6": made(NETWORKS, NETWORKS, lambda y, x: None if (y, x) == (0, 4) else rising(y, x)),
    "1x8": made(("gradient matching",), [str(2**x) for x in range(8)], rising),
    "8x1": made([f"method {y}" for y in range(8)], ("accuracy",), rising),
    "1x1": made(("a",), ("b",), lambda y, x: scores(50, n=1)),
    "no numbers": made(NETWORKS, NETWORKS, lambda y, x: scores(0, n=0)),
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
    "curves": curve_study(
        published={("matching", "1"): Published(91.7), ("matching", "10"): Published(97.4, 0.2)}
    ),
    "full": curve_study(full=scores(99, 0.1)),
    "bands": curve_study(lambda y, x: of_sets(*(60 + x + 5 * y + s for s in range(5)))),
    "gaps": curve_study(lambda y, x: None if x == 1 else scores(60 + x, 1, n=0 if x == 3 else 2)),
    "close": curve_study(columns=tuple(str(x) for x in range(1000, 1090, 2))),
    "one column": curve_study(columns=("10",)),
    "no points": curve_study(lambda y, x: scores(0, n=0)),
    "long lines": made(
        (*LONG, "_c", "$d$"),
        IPCS,
        rising,
        scores(99),
        plot="curves",
        title="A long title " * 12,
        row_axis="r " * 60,
    ),
    "one panel": paired_study(around),
    "five panels": paired_study(around, columns=NETWORKS[:5]),
    "large": paired_study(lambda y, x: of_sets(89 - 33 * y, 90 - 32 * y, 89 - 33 * y), columns=NETWORKS[:2]),
    "single set": paired_study(lambda y, x: of_sets(80 + y)),
    "unfinished": paired_study(lambda y, x: scores(0, n=0), columns=NETWORKS[:4]),
    "long differences": paired_study(
        around,
        rows=("plain", *LONG),
        columns=("a long label " * 6, "b", "c", "another long label " * 6),
        title="A long title " * 12,
    ),
}
