"""Paired differences and costs on the page and in the CSV table of a study, against numbers worked out by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from datacondense.reports.study_page import markdown
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Entry
from tests.reports.made_studies import Lines, made, networks, of_sets, rows_of, scores, table_of

PAIRED = "## Paired with plain matching"
PLAIN = of_sets(
    80, 81, 82, image_lr=(0.1,) * 3, condensing_seconds=(10.0, 11.0, 12.5), iterations=(4, 4, 5.5)
)
BETTER = of_sets(81.9, 83, 84.1, image_lr=(0.5, 0.05, 0.5), condensing_seconds=(20.0, 22.0))
WORSE = of_sets(75.1, 76, 76.9)
SAME = of_sets(81, 80, 82)
# Student's t of 2 degrees of freedom, 4.3027, over the root of 3 sets: 2.4841 for a deviation of 1.


def paired(
    *entries: Lines, pairs: dict[Entry, Entry] | None = None, columns: Sequence[str] = ("x",)
) -> StudyResult:
    """Return rows "plain", "a", "b", "c", paired with the first by default."""
    rows = ("plain", "a", "b", "c")[: len(entries)]
    pairs = {(row, "x"): ("plain", "x") for row in rows[1:]} if pairs is None else pairs
    return made(rows, columns, lambda y, x: PLAIN if x else entries[y], paired=pairs)


def test_paired_differences_by_hand() -> None:
    page = markdown(paired(PLAIN, BETTER, WORSE, SAME), {})
    plain, better, worse, same = table_of(page, PAIRED)
    assert plain == ["plain", "x", "", "81.0±1.0", "", "", "", "", "3", "3", "0.1", "11.2", "4"]
    assert better[:6] == ["a", "x", "plain", "83.0±1.1", "+2.00", "+1.75 to +2.25"]
    assert better[6:] == ["+1.90 to +2.10", "gain", "3", "3", "0.05, 0.5", "21.0", ""]
    assert worse[:6] == ["b", "x", "plain", "76.0±0.9", "-5.00", "-5.25 to -4.75"]
    assert worse[6:] == ["-5.10 to -4.90", "loss", "3", "3", "", "", ""]
    assert same[:6] == ["c", "x", "plain", "81.0±1.0", "+0.00", "-2.48 to +2.48"]
    assert same[7:] == ["undecided", "3", "3", "", "", ""]
    assert "single set" not in page
    assert "–" not in page
    first, second = rows_of(paired(PLAIN, BETTER))
    assert [first[name] for name in ("image_lr", "condensing_seconds", "iterations")] == [
        "0.1",
        "11.167",
        "4.5",
    ]
    assert not any(first[name] for name in ("difference", "difference_low", "bootstrap_high"))
    assert (second["image_lr"], second["condensing_seconds"]) == ("0.05 0.5", "21.000")
    names = ("difference", "difference_low", "difference_high", "bootstrap_low", "bootstrap_high")
    expected = [2, 2 - 0.248414, 2 + 0.248414, 1.9, 2.1]
    assert [float(second[name]) for name in names] == pytest.approx(expected, abs=1e-5)


def test_a_single_set_has_no_interval() -> None:
    result = paired(of_sets(80), scores(81, 1))
    page = markdown(result, {})
    assert table_of(page, PAIRED)[1][4:10] == [
        "+0.29",
        "–",
        "–",
        "undecided",
        "1",
        "1",
    ]  # 81 - 1 / sqrt(2) - 80
    assert "A single set has no interval and decides nothing." in page
    (_, row) = rows_of(result)
    assert float(row["difference"]) == pytest.approx(0.292893)
    assert not any(row[f"{name}_{end}"] for name in ("difference", "bootstrap") for end in ("low", "high"))


def test_unfinished_entries_have_no_difference() -> None:
    page = markdown(paired(PLAIN, scores(0, n=0), BETTER), {})
    assert table_of(page, PAIRED)[1] == ["a", "x", "plain", "–", "–", "–", "–", "–", "0", "0", "", "", ""]
    assert "– instead of a difference means that no pair is finished." in page
    half = table_of(markdown(paired(scores(0, n=0), BETTER), {}), PAIRED)
    assert half[0][3:] == ["–", "", "", "", "", "0", "0", "", "", ""]
    assert half[1][3:9] == ["83.0±1.1", "–", "–", "–", "–", "0"]


def test_pairs_are_counted_where_entries_have_more() -> None:
    first, second = table_of(markdown(paired(of_sets(80, 81, 82, 90), of_sets(81, 82)), {}), PAIRED)
    assert first[8:10] == ["4", "4"]
    assert second[4:10] == ["+1.00", "+1.00 to +1.00", "+1.00 to +1.00", "gain", "2", "2"]


def test_partners_are_named_by_what_is_not_shared() -> None:
    pairs = {("a", "x"): ("a", "y|z"), ("b", "x"): ("plain", "y|z")}
    page = markdown(paired(PLAIN, BETTER, WORSE, pairs=pairs, columns=("x", "y|z")), {})
    # Row by row, and only what is paired or is a partner.
    expected = [["plain", "y\\|z", ""], ["a", "x", "y\\|z"], ["a", "y\\|z", ""], ["b", "x", "plain, y\\|z"]]
    assert [line[:3] for line in table_of(page, PAIRED)] == expected
    assert "Paired" not in markdown(paired(PLAIN, BETTER, pairs={}), {})


COSTS = ["ratio", "shared_seconds", "memory_peak", "memory_added", "evaluating_seconds"]
LEARNED = of_sets(
    *(80, 81, 82),
    condensing_seconds=(100.0, 200.0, 150.4),
    iterations=(1000, 1000, 1000),
    shared_seconds=(0.0, 0.0, 0.0),
    memory_peak=(400.0, 410.0),
    memory_added=(20.0, 31.0),
    evaluating_seconds=(1.0, 2.0, 1.5),
)
SELECTED = of_sets(
    *(70, 72, 74),
    keys=("a",) * 3,
    condensing_seconds=(0.04,) * 3,
    shared_seconds=(99.96,) * 3,
    memory_peak=(512.4,) * 3,
    memory_added=(0.4,) * 3,
    evaluating_seconds=(0.5,),
)


def costs(full: Lines | None, **settings: Any) -> StudyResult:
    """Return learned, selected and unfinished rows; the second column lacks the selected one."""
    entries: list[list[Lines | None]] = [
        [LEARNED, LEARNED],
        [SELECTED, None],
        [networks(missing=3), networks(missing=3)],
    ]
    settings = {"row_axis": "method", "ratios": {"1": 0.0166666, "10": 12.34567}} | settings
    return made(
        ("learned", "selected", "un|finished"), ("1", "10"), lambda y, x: entries[y][x], full, **settings
    )


def test_costs_by_hand() -> None:
    learned = ["3", "3", "81.0±1.0", "1000", "150", "–", "405 (26)", "1.5"]
    nothing = ["0", "–", "–", "–", "–", "–", "–", "–"]
    # Column by column, so that methods of one number of images stand together.
    expected = [
        ["learned", "1", "0.0167", *learned],
        ["selected", "1", "0.0167", "3", "1", "72.0±2.0", "–", "0.0", "100.0", "512 (0)", "0.5"],
        ["un\\|finished", "1", "0.0167", *nothing],
        ["learned", "10", "12.3", *learned],
        ["un\\|finished", "10", "12.3", *nothing],
    ]
    full = ["full data set", "all", "100", "1", "–", "99.0", "–", "–", "–", "–", "60.2"]
    page = markdown(costs(of_sets(99, evaluating_seconds=(60.25,))), {})
    assert table_of(page, "## Costs") == [*expected, full]
    assert "\n| --- | --- |" + " ---: |" * 9 + "\n" in page
    failed = ["full data set", "all", "100", "0", *["–"] * 7]
    assert table_of(markdown(costs(networks(missing=1)), {}), "## Costs") == [*expected, failed]
    assert table_of(markdown(costs(None), {}), "## Costs") == expected


def test_costs_in_csv_by_hand() -> None:
    table = {(line["row"], line["column"]): line for line in rows_of(costs(None))}
    learned, selected, unfinished = (table[row, "1"] for row in ("learned", "selected", "un|finished"))
    assert [learned[name] for name in COSTS] == ["0.016667", "0.000", "405.000", "25.500", "1.500"]
    assert (learned["condensing_seconds"], learned["iterations"]) == ("150.133", "1000.0")
    assert [selected[name] for name in COSTS] == ["0.016667", "99.960", "512.400", "0.400", "0.500"]
    assert (selected["condensing_seconds"], selected["iterations"]) == ("0.040", "")
    assert [unfinished[name] for name in COSTS] == ["0.016667", "", "", "", ""]
    assert table["learned", "10"]["ratio"] == "12.345670"
    # Seconds differ from run to run, and nothing else in the file does.
    without = costs(None, ratios={})
    assert "Costs" not in markdown(without, {})
    assert not set(COSTS) & set(rows_of(without)[0])
    assert {line["condensing_seconds"] for line in rows_of(without)} == {""}
