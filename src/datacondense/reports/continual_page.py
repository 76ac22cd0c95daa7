"""Memories compared in continual learning, as a Markdown page with tables and a plot."""

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from datacondense.applications.continual_results import COSTS, TESTS, ContinualResult
from datacondense.files import write_text
from datacondense.reports import layout as md
from datacondense.reports.layout import NOTHING, number, plain
from datacondense.reports.records import frame_columns, frame_of, read_study_record, study_record, understood
from datacondense.reports.study_page import write_study

_NOTES = (
    "Accuracies in % after the last stage, mean±standard deviation over networks. Forgetting is how far the accuracy "
    "on earlier test sets has fallen from its best, backward transfer how far it has risen since their own stage, both "
    "in points. Making is the mean time to make one stage's part of the memory, training that of one stage; times are "
    "valid only for the machine below and its load."
)
_MIB = 2**20


def write_continual(
    result: ContinualResult, facts: Mapping[str, str], folder: Path | str, stem: str
) -> list[Path]:
    """Write page, tables and plot of a comparison of memories, each atomically; the page shows the plot.

    Args:
        result: The numbers.
        facts: What the page begins with: name and value, as plain text.
        folder: The folder; it is created if missing.
        stem: Name of the files without their suffixes.

    Returns:
        The paths of the page (.md), the table (.csv), the plot (.png) and the table of test sets (-tests.csv).

    Raises:
        InputError: The folder cannot be written.
    """
    tests = Path(folder) / f"{stem}-tests.csv"
    write_text(tests, csv_of_tests(result))
    return [*write_study(result.means, facts, folder, stem, [last_stage_part(result)]), tests]


def csv_of_tests(result: ContinualResult) -> str:
    """Return the accuracy on every test set after every stage as CSV, in percent.

    Args:
        result: The numbers.

    Returns:
        A line for each network, stage and test set.
    """
    frame = result.tests.assign(
        tested=[result.tested[tested - 1] for tested in result.tests["tested"]],
        accuracy=[f"{100 * accuracy:.6f}" for accuracy in result.tests["accuracy"]],
    )
    return str(frame.to_csv(index=False, lineterminator="\n"))


def last_stage_part(result: ContinualResult) -> str:
    """Return the table of what the networks know after the last stage, and of what it cost.

    Args:
        result: The numbers.

    Returns:
        The part of the page, in Markdown; empty where no network has finished.
    """
    last = len(result.tested)
    finished = result.tests[result.tests["stage"] == last]
    if finished.empty:
        return ""
    header = [
        "memory",
        *map(plain, result.tested),
        *("mean", "forgetting", "backward transfer", "images", "MiB", "making, s", "training, s"),
    ]
    rows = [_line(result, row, own) for row, own in finished.groupby("row", sort=False)]
    return md.joined(["## After the last stage", md.table(header, rows), _NOTES])


def _line(result: ContinualResult, row: Any, own: pd.DataFrame) -> list[str]:
    """Return the texts of one memory."""
    accuracies = [_spread(100 * each["accuracy"]) for _, each in own.groupby("tested", sort=True)]
    means = own.groupby(["seed", "network"])["accuracy"].mean()
    measures = result.measures(row)
    costs = result.costs[result.costs["row"] == row]
    held = costs[costs["stage"] == len(result.tested)]
    made = costs[costs["images"] > 0]  # end-to-end, nothing is kept yet in the first stage
    return [
        plain(row),
        *accuracies,
        _spread(100 * means),
        *(_spread(100 * pd.Series(measures[name])) for name in ("forgetting", "transfer")),
        number(held["images"].mean(), ".0f"),
        number(held["bytes"].mean() / _MIB, ".3g"),
        number(made["making_seconds"].mean(), ".1f", NOTHING),
        number(costs["training_seconds"].mean(), ".1f", NOTHING),
    ]


def _spread(values: pd.Series) -> str:
    """Return mean±standard deviation as text."""
    return md.accuracy(float(values.mean()), float(values.std()) if len(values) > 1 else nan)


def continual_record(result: ContinualResult) -> dict[str, Any]:
    """Return all numbers as plain JSON values.

    Args:
        result: The numbers.

    Returns:
        The record of the study of means, with the test sets and the costs.
    """
    return {
        **study_record(result.means),
        "tested": list(result.tested),
        "tests": frame_columns(result.tests),
        "costs": frame_columns(result.costs),
    }


def read_continual_record(values: Mapping[str, Any]) -> ContinualResult:
    """Read what `continual_record` wrote.

    Args:
        values: The record; additional values are ignored.

    Returns:
        The numbers.

    Raises:
        InputError: The values are no such record.
    """
    with understood("continual learning"):
        return _continual_result(values)


def _continual_result(values: Mapping[str, Any]) -> ContinualResult:
    return ContinualResult(
        means=read_study_record(values),
        tested=tuple(values["tested"]),
        tests=frame_of({name: values["tests"][name] for name in TESTS}),
        costs=frame_of({name: values["costs"][name] for name in COSTS}),
    )
