"""Costs on the page and in the CSV table, against numbers worked out by hand."""

import csv
import io
from dataclasses import replace
from typing import Any

from datacondense.reports.costs import cost_numbers, costs_part
from datacondense.reports.study_tables import csv_text, markdown
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from tests.reports.made_studies import made, of_sets, scores

LEARNED = replace(
    of_sets(80, 81, 82),
    origins={0: "a", 1: "b", 2: "c"},
    condensing_seconds=(100.0, 200.0, 150.4),
    iterations=(1000, 1000, 1000),
    shared_seconds=(0.0, 0.0, 0.0),
    memory=((400.0, 20.0), (410.0, 31.0)),
    evaluating_seconds=(1.0, 2.0, 1.5),
)
SELECTED = replace(
    of_sets(70, 72, 74),
    origins={0: "a", 1: "a", 2: "a"},
    condensing_seconds=(0.04,),
    shared_seconds=(99.96,),
    memory=((512.4, 0.4),),
    evaluating_seconds=(0.5,),
)
NONE = EntryResult(accuracies={}, missing=3)
FULL = replace(scores(99, n=1), missing=0, evaluating_seconds=(60.25,))
RATIOS = {"1": 0.0166666, "10": 12.34567}
OLD_HEADER = (
    "row,column,n,sets,missing,mean,std,low,high,published_mean,published_std,image_lr,condensing_seconds,iterations,"
    "difference,difference_low,difference_high,bootstrap_low,bootstrap_high"
)


def study(full: EntryResult | None = FULL, **changes: Any) -> StudyResult:
    """Return learned, selected and unfinished rows; the second column lacks the selected one."""
    entries: list[list[EntryResult | None]] = [[LEARNED, LEARNED], [SELECTED, None], [NONE, NONE]]
    settings: dict[str, Any] = {"row_axis": "method", "column_axis": "images per class", "ratios": RATIOS}
    return made(
        ("learned", "selected", "un|finished"),
        ("1", "10"),
        lambda y, x: entries[y][x],
        full,
        **{**settings, **changes},
    )


def lines(page: str) -> list[list[str]]:
    """Read the entries of the table of costs, without the rule below its header."""
    table = page.split("## Costs\n\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    found = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table]
    return [found[0], *found[2:]]


def test_page_by_hand() -> None:
    header, *found = lines(markdown(study(), {}))
    assert header == [
        "method",
        "images per class",
        "ratio, %",
        "n",
        "sets",
        "accuracy, %",
        "iterations",
        "condensing, s",
        "shared, s",
        "peak memory, MiB (added)",
        "evaluation, s",
    ]
    learned = ["3", "3", "81.0±1.0", "1000", "150", "–", "405 (26)", "1.5"]
    nothing = ["0", "–", "–", "–", "–", "–", "–", "–"]
    # Column by column, so that methods of one number of images stand together.
    assert found == [
        ["learned", "1", "0.0167", *learned],
        ["selected", "1", "0.0167", "3", "1", "72.0±2.0", "–", "0.0", "100.0", "512 (0)", "0.5"],
        ["un\\|finished", "1", "0.0167", *nothing],
        ["learned", "10", "12.3", *learned],
        ["un\\|finished", "10", "12.3", *nothing],
        ["full data set", "all", "100", "1", "–", "99.0", "–", "–", "–", "–", "60.2"],
    ]


def test_numbers_are_aligned_right_and_words_are_explained() -> None:
    part = costs_part(study())
    assert part.splitlines()[3] == "| --- | --- |" + " ---: |" * 9
    notes = part.split("\n\n")[-1]
    for word in (
        "Ratio",
        "condensing",
        "shared",
        "evaluation",
        "Peak memory",
        "Learning-rate search is not counted",
    ):
        assert word in notes


def test_studies_without_full_training_have_no_row_of_it() -> None:
    assert [line[0] for line in lines(costs_part(study(full=None)))] == [
        *("method", "learned", "selected", "un\\|finished", "learned", "un\\|finished"),
    ]


def test_failed_full_training_has_a_row_without_numbers() -> None:
    *_, last = lines(costs_part(study(full=EntryResult(accuracies={}, missing=1))))
    assert last == ["full data set", "all", "100", "0", *["–"] * 7]


def test_csv_columns_by_hand() -> None:
    header, *found = csv.reader(io.StringIO(csv_text(study())))
    costs = ["ratio", "shared_seconds", "memory_peak", "memory_added", "evaluating_seconds"]
    assert header == [*OLD_HEADER.split(","), *costs]
    table = {(line[0], line[1]): dict(zip(header, line, strict=True)) for line in found}
    learned, selected, unfinished = (table[row, "1"] for row in ("learned", "selected", "un|finished"))
    assert [learned[name] for name in costs] == ["0.016667", "0.000", "405.000", "25.500", "1.500"]
    assert (learned["condensing_seconds"], learned["iterations"]) == ("150.133", "1000.0")
    assert [selected[name] for name in costs] == ["0.016667", "99.960", "512.400", "0.400", "0.500"]
    assert (selected["condensing_seconds"], selected["iterations"]) == ("0.040", "")
    assert [unfinished[name] for name in costs] == ["0.016667", "", "", "", ""]
    assert table["learned", "10"]["ratio"] == "12.345670"
    assert cost_numbers(LEARNED, 12.34567) == [table["learned", "10"][name] for name in costs]


def test_studies_without_ratios_have_no_costs() -> None:
    result = study(ratios={})
    assert costs_part(result) == ""
    assert "Costs" not in markdown(result, {})
    header, first, *_ = csv_text(result).splitlines()
    assert header == OLD_HEADER
    # Seconds differ from run to run, and nothing else in the file does.
    assert next(csv.DictReader([header, first]))["condensing_seconds"] == ""
