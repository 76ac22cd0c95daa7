"""Paired differences on the page and in the CSV table, against numbers worked out by hand."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from datacondense.reports.study_tables import csv_text, markdown
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Entry
from tests.reports.made_studies import made, of_sets, scores

HEADING = "## Paired with plain matching\n\n"
PLAIN = replace(
    of_sets(80, 81, 82), image_lrs=(0.1,), condensing_seconds=(10.0, 11.0, 12.5), iterations=(4, 4, 5.5)
)
BETTER = replace(of_sets(81.9, 83, 84.1), image_lrs=(0.05, 0.5), condensing_seconds=(20.0, 22.0))
WORSE = of_sets(75.1, 76, 76.9)
SAME = of_sets(81, 80, 82)
# Student's t of 2 degrees of freedom, 4.3027, over the root of 3 sets: 2.4841 for a deviation of 1.


def study(
    *entries: Any, paired: dict[Entry, Entry] | None = None, columns: tuple[str, ...] = ("x",), **more: Any
) -> StudyResult:
    """Return rows "plain", "a", "b", "c", paired with the first by default."""
    rows = ("plain", "a", "b", "c")[: len(entries)]
    if paired is None:
        paired = {(row, "x"): ("plain", "x") for row in rows[1:]}
    return made(rows, columns, lambda y, x: entries[y] if x == 0 else PLAIN, paired=paired, **more)


def lines(page: str) -> list[list[str]]:
    """Read the entries of the paired table."""
    table = page.split(HEADING)[1].split("\n\n", maxsplit=1)[0].splitlines()
    texts = [
        [text.strip() for text in line.removeprefix("| ").removesuffix(" |").split(" | ")] for line in table
    ]
    return [texts[0], *texts[2:]]


def test_page_by_hand() -> None:
    page = markdown(study(PLAIN, BETTER, WORSE, SAME), {})
    header, *found = lines(page)
    assert header == [
        *("condensed with", "trained with", "paired with", "accuracy, %", "difference, points"),
        *(
            "95 % interval (t)",
            "95 % bootstrap",
            "verdict",
            "n",
            "sets",
            "image learning rate",
            "condensing, s",
            "iterations",
        ),
    ]
    assert found[0] == ["plain", "x", "", "81.0±1.0", "", "", "", "", "3", "3", "0.1", "11.2", "4"]
    better, worse, same = found[1:]
    assert better[:6] == ["a", "x", "plain", "83.0±1.1", "+2.00", "+1.75 to +2.25"]
    assert better[6:] == ["+1.90 to +2.10", "gain", "3", "3", "0.05, 0.5", "21.0", ""]
    assert worse[:6] == ["b", "x", "plain", "76.0±0.9", "-5.00", "-5.25 to -4.75"]
    assert worse[6:] == ["-5.10 to -4.90", "loss", "3", "3", "", "", ""]
    assert same[:6] == ["c", "x", "plain", "81.0±1.0", "+0.00", "-2.48 to +2.48"]
    assert same[7:] == ["undecided", "3", "3", "", "", ""]
    assert "Student's t over the means of the sets, and it alone decides" in page
    assert "single set" not in page
    assert "–" not in page


def test_csv_by_hand() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(study(PLAIN, BETTER)))))
    assert (rows[0]["image_lr"], rows[0]["condensing_seconds"], rows[0]["iterations"]) == (
        "0.1",
        "11.167",
        "4.5",
    )
    assert not any(rows[0][name] for name in ("difference", "difference_low", "bootstrap_high"))
    assert (rows[1]["image_lr"], rows[1]["condensing_seconds"]) == ("0.05 0.5", "21.000")
    names = ("difference", "difference_low", "difference_high", "bootstrap_low", "bootstrap_high")
    numbers = [float(rows[1][name]) for name in names]
    assert numbers == pytest.approx([2, 2 - 0.248414, 2 + 0.248414, 1.9, 2.1], abs=1e-5)


def test_a_single_set_has_no_interval() -> None:
    result = study(of_sets(80), scores(81, 1))
    page = markdown(result, {})
    assert lines(page)[2][4:10] == ["+0.29", "–", "–", "undecided", "1", "1"]  # 81 - 1 / sqrt(2) - 80
    assert "A single set has no interval and decides nothing." in page
    (_, row) = csv.DictReader(io.StringIO(csv_text(result)))
    assert float(row["difference"]) == pytest.approx(0.292893)
    assert not any(row[f"{name}_{end}"] for name in ("difference", "bootstrap") for end in ("low", "high"))


def test_unfinished_entries_have_no_difference() -> None:
    page = markdown(study(PLAIN, scores(0, n=0), BETTER), {})
    assert lines(page)[2] == ["a", "x", "plain", "–", "–", "–", "–", "–", "0", "0", "", "", ""]
    assert "– instead of a difference means that no pair is finished." in page
    half = markdown(study(scores(0, n=0), BETTER), {})
    assert lines(half)[1][3:] == ["–", "", "", "", "", "0", "0", "", "", ""]
    assert lines(half)[2][3:9] == ["83.0±1.1", "–", "–", "–", "–", "0"]


def test_pairs_are_counted_where_entries_have_more() -> None:
    page = markdown(study(of_sets(80, 81, 82, 90), of_sets(81, 82)), {})
    assert lines(page)[1][8:10] == ["4", "4"]
    assert lines(page)[2][4:10] == ["+1.00", "+1.00 to +1.00", "+1.00 to +1.00", "gain", "2", "2"]


def test_partners_are_named_by_what_is_not_shared() -> None:
    paired = {("a", "x"): ("a", "y|z"), ("b", "x"): ("plain", "y|z")}
    page = markdown(study(PLAIN, BETTER, WORSE, paired=paired, columns=("x", "y|z")), {})
    # Row by row, and only what is paired or is a partner.
    assert [line[:3] for line in lines(page)[1:]] == [
        ["plain", "y\\|z", ""],
        ["a", "x", "y\\|z"],
        ["a", "y\\|z", ""],
        ["b", "x", "plain, y\\|z"],
    ]


def test_studies_without_pairs_have_no_paired_part() -> None:
    assert "Paired" not in markdown(study(PLAIN, BETTER, paired={}), {})


def test_pairs_come_before_orderings() -> None:
    claim = Claim(text="a > plain", better=(("a", "x"),), worse=(("plain", "x"),))
    page = markdown(study(PLAIN, BETTER, claims=(claim,)), {})
    assert page.index(HEADING) < page.index("## Orderings")
