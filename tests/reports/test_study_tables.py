"""The page and the table of a study, against numbers worked out by hand."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.errors import InputError
from datacondense.reports.study_tables import csv_text, markdown, write_study
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Entry, Published, Study

ENVIRONMENT = {
    "python": "3.11.2",
    "datacondense": "0.1.0",
    "device": "cpu",
    "threads": 1,
    "torch": "2.13.0",
    "precision": "float32",
    "engine": "fused",
}


def scores(*sets: Sequence[float], missing: int = 0) -> EntryResult:
    """Return an entry from the accuracies of the networks on each set, in percent."""
    accuracies = {
        (seed, repeat): value / 100 for seed, values in enumerate(sets) for repeat, value in enumerate(values)
    }
    return EntryResult(accuracies=accuracies, missing=missing)


NONE = scores(missing=4)
FOUR = scores((90, 92), (91, 93))  # 91.5, deviations 1.5, .5, .5, 1.5: sqrt(5 / 3) = 1.29
LOWER = scores((80, 82), (81, 83))
LABELS = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def made(
    *entries: EntryResult | None,
    full: EntryResult | None = None,
    environments: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> StudyResult:
    """Return a study of two rows and two columns; None leaves an entry out."""
    found = {labels: entry for labels, entry in zip(LABELS, entries, strict=False) if entry is not None}
    study: dict[str, Any] = {
        "name": "made",
        "title": "What is best?",
        "rows": ("a", "b"),
        "columns": ("x", "y"),
        "row_axis": "set",
        "column_axis": "network",
        "entries": {},
    }
    return StudyResult(
        study=Study(**{**study, **settings}), entries=found, full=full, environments=environments
    )


def table_of(page: str, heading: str = "# What is best?") -> list[list[str]]:
    """Read the first table below a heading, without the line of rules."""
    below = page[page.index(f"{heading}\n") :].splitlines()
    first = next(index for index, line in enumerate(below) if line.startswith("|"))
    lines = []
    for line in below[first:]:
        if not line.startswith("|"):
            break
        lines.append([text.strip() for text in line.strip("|").split("|")])
    return [lines[0], *lines[2:]]


def test_entries_by_hand() -> None:
    page = markdown(made(FOUR, FOUR, LOWER, None), {})
    assert table_of(page) == [
        ["set \\\\ network", "x", "y"],
        ["a", "**91.5±1.3** (4)", "91.5±1.3 (4)"],
        ["b", "81.5±1.3 (4)", ""],
    ]
    assert page.startswith("# What is best?\n\n| set \\\\ network | x | y |\n| --- | ---: | ---: |\n")
    assert "n (sets × networks on each) is 4 (2 × 2). Bold is the highest mean of a column.\n" in page


def test_facts_come_first_and_in_order() -> None:
    page = markdown(made(FOUR), {"Iterations": "100", "Data set": "digits"})
    assert page.startswith("# What is best?\n\n- Iterations: 100\n- Data set: digits\n\n|")


def test_published_numbers_are_beside_ours() -> None:
    published = {("a", "x"): Published(91.72, 0.5), ("a", "y"): Published(80.0), ("b", "y"): Published(1.0)}
    page = markdown(made(FOUR, NONE, LOWER, None, published=published, source="A book, p. 3"), {})
    assert table_of(page)[1:] == [
        ["a", "**91.5±1.3** (4) · *91.7±0.5*", "–† · *80.0*"],
        ["b", "81.5±1.3 (4)", ""],
    ]
    assert "In italics: published (A book, p. 3)." in page
    assert "published" not in markdown(made(FOUR, source="A book"), {})


def test_missing_networks_are_marked_and_explained() -> None:
    partly = scores((90, 92), (94,), missing=1)
    page = markdown(made(partly, NONE, FOUR, partly), {})
    assert table_of(page)[1:] == [["a", "**92.0±2.0** (3)†", "–‡"], ["b", "91.5±1.3 (4)", "92.0±2.0 (3)†"]]
    assert "† 1 of 4 networks is missing: failed or not yet run.\n" in page
    assert "‡ 4 of 4 networks are missing: failed or not yet run.\n" in page
    assert "is 3 (on 2 sets), 4 (2 × 2)." in page
    assert "– means that no network is finished." in page


def test_notes_explain_only_what_occurs() -> None:
    page = markdown(made(FOUR, FOUR, FOUR, FOUR), {})
    for text in ("†", "missing", "–", "Bold", "italics", "##", "![", "on 2 sets"):
        assert text not in page


def test_marks_never_run_out() -> None:
    columns = tuple("abcdefgh")
    entries: dict[Entry, EntryResult] = {
        ("r", column): scores((90,), missing=index) for index, column in enumerate(columns)
    }
    study = Study(name="", title="t", rows=("r",), columns=columns, row_axis="", column_axis="", entries={})
    page = markdown(StudyResult(study=study, entries=entries, full=None, environments=()), {})
    shown = table_of(page, "# t")[1][1:]
    assert [text.removeprefix("90.0 (1)") for text in shown] == ["", "†", "‡", "§", "¶", "††", "‡‡", "§§"]
    assert "\n§§ 7 of 8 networks are missing" in page


def test_single_network_has_no_deviation() -> None:
    result = made(scores((90,)))
    assert table_of(markdown(result, {}))[1] == ["a", "90.0 (1)", ""]
    assert csv_text(result).splitlines()[1] == "a,x,1,1,0,90.000000" + 13 * ","


@pytest.mark.parametrize(
    ("first", "second", "bold"),
    [(91.6, 91.4, [True, False]), (91.4, 91.6, [False, True]), (91.52, 91.48, [False, False])],
)
def test_highest_mean_is_bold_where_it_shows(first: float, second: float, bold: list[bool]) -> None:
    page = markdown(made(scores((first, first)), None, scores((second, second))), {})
    assert [row[1].startswith("**") for row in table_of(page)[1:]] == bold


def test_letters_of_markdown_are_escaped() -> None:
    result = made(
        FOUR,
        FOUR,
        title="a *b*\nc",
        row_axis="r|s",
        columns=("x", "x|_y_"),
        rows=("a", "<b>"),
        claims=(Claim(text="a|b", better=(("a", "x"),), worse=(("a", "x"),)),),
    )
    page = markdown(result, {"A|B": "~/a_b `c` [d]"})
    assert page.startswith("# a \\*b\\* c\n\n- A\\|B: \\~/a_b \\`c\\` \\[d\\]\n")
    assert "\n| r\\|s \\\\ network | x | x\\|\\_y\\_ |\n" in page
    assert "\n| \\<b> |  |  |\n" in page
    assert "\n| a\\|b | +0.00 " in page


def test_relative_table_by_hand() -> None:
    page = markdown(made(FOUR, NONE, LOWER, None, full=scores((99, 98, 97), missing=2)), {})
    assert table_of(page, "## Relative to the full data set, %") == [
        ["set \\\\ network", "x", "y"],
        ["a", "93.4", "–†"],  # 91.5 / 98
        ["b", "83.2", ""],  # 81.5 / 98
    ]
    assert "100 % is the accuracy on the full data set: 98.0±1.0 (3). 2 of 5 networks are missing:" in page


def test_seeds_that_share_a_set_count_as_one() -> None:
    shared = replace(FOUR, origins={0: "same", 1: "same"})
    assert "n (sets × networks on each) is 4 (1 × 4)." in markdown(made(shared), {})
    assert csv_text(made(shared)).splitlines()[1].startswith("a,x,4,1,")


def test_studies_without_full_training_have_no_relative_table() -> None:
    page = markdown(made(FOUR, full=scores(missing=5)), {})
    assert "## Relative" not in page
    assert "There is no accuracy on the full data set to compare with. 5 of 5 networks are missing:" in page
    assert "full data set" not in markdown(made(FOUR), {})


def test_orderings_by_hand() -> None:
    claims = (
        Claim(text="a > b", better=(("a", "x"),), worse=(("b", "x"),)),
        Claim(text="b > a", better=(("b", "x"),), worse=(("a", "x"),)),
        Claim(text="a > a", better=(("a", "x"),), worse=(("a", "x"),)),
        Claim(text="both", better=(("a", "x"), ("a", "y")), worse=(("b", "x"),), strict=False),
        Claim(text="one", better=(("b", "y"),), worse=(("b", "x"),)),
        Claim(text="none", better=(("c", "z"),), worse=(("b", "x"),)),
    )
    one_set, single = scores((90, 92)), scores((70,), missing=3)
    printed = {("a", "x"): Published(91.7, 0.5), ("b", "x"): Published(83.5), ("b", "y"): Published(80.0)}
    page = markdown(made(FOUR, one_set, LOWER, single, claims=claims, published=printed), {})
    published = "published, points"
    assert table_of(page, "## Orderings") == [
        ["ordering", "better - worse, points (95 % interval)", "n (sets × networks)", "verdict", published],
        ["a > b", "+10.00 (+10.00 to +10.00)", "4 (2 × 2)", "reproduced", "+8.20"],
        ["b > a", "-10.00 (-10.00 to -10.00)", "4 (2 × 2)", "contradicted", "-8.20"],
        ["a > a", "+0.00 (+0.00 to +0.00)", "4 (2 × 2)", "undecided", "+0.00"],
        ["both", "+10.00 (+10.00 to +10.00)", "2 (1 × 2)", "undecided", ""],
        ["one", "-10.00 (no interval)", "1 (1 × 1)", "–", "-3.50"],
    ]
    assert "A single set decides nothing: its interval, over networks, is valid for that set only." in page
    assert "\nNot known yet: none.\n" in page
    complete = markdown(made(FOUR, one_set, LOWER, single, claims=claims[:1]), {})
    assert "single set" not in complete
    assert "Not known" not in complete


def test_the_interval_is_that_of_the_result() -> None:
    claim = Claim(text="a > b", better=(("a", "x"),), worse=(("b", "x"),))
    result = made(scores((90, 92), (85, 87)), None, scores((80, 83), (81, 80)), claims=(claim,))
    low, high = result.claims[0].interval
    assert low < high
    assert f"+7.50 ({100 * low:+.2f} to {100 * high:+.2f})" in markdown(result, {})


def test_environments_are_listed_once() -> None:
    python = {**ENVIRONMENT, "engine": "torch"}
    page = markdown(made(FOUR, environments=[python, ENVIRONMENT, dict(ENVIRONMENT)]), {})
    rest = "precision float32, threads 1, torch 2.13.0, device cpu, datacondense 0.1.0, python 3.11.2"
    assert page.endswith(f"## Environments\n\n- engine fused, {rest}\n- engine torch, {rest}\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 2}, "numbers of threads"),
        ({"torch": "2.12.0"}, "versions of torch"),
        ({"device": "cuda"}, "devices"),
        ({"datacondense": "0.2.0", "threads": 2}, "numbers of threads and versions of datacondense"),
    ],
)
def test_mixed_environments_are_a_warning(change: dict[str, Any], words: str) -> None:
    page = markdown(made(FOUR, environments=[ENVIRONMENT, {**ENVIRONMENT, **change}]), {})
    assert page.endswith(
        f"\n\n**The table mixes different {words}**, which may cause differences between entries.\n"
    )


def test_csv_by_hand() -> None:
    published = {("a", "x"): Published(91.7, 0.5), ("b", "x"): Published(80)}
    alike = scores((89, 91), (91, 93))
    result = made(alike, NONE, scores((81.25, 81.25)), None, published=published)
    low, high = (f"{100 * end:.6f}" for end in alike.interval)
    header, *lines = csv.reader(io.StringIO(csv_text(result)))
    assert header == [
        *("row", "column", "n", "sets", "missing", "mean", "std", "low", "high"),
        *("published_mean", "published_std", "image_lr", "condensing_seconds", "iterations"),
        *("difference", "difference_low", "difference_high", "bootstrap_low", "bootstrap_high"),
    ]
    none = [""] * 8
    assert lines == [
        ["a", "x", "4", "2", "0", "91.000000", "1.632993", low, high, "91.700000", "0.500000", *none],
        ["a", "y", "0", "0", "4", "", "", "", "", "", "", *none],
        ["b", "x", "2", "1", "0", "81.250000", "0.000000", "81.250000", "81.250000", "80.000000", "", *none],
    ]
    assert float(low) < 91 < float(high)


def test_labels_with_commas_survive_csv() -> None:
    result = made(FOUR, rows=("a", 'b, "c"'))
    entries = {('b, "c"', "x"): FOUR}
    text = csv_text(StudyResult(study=result.study, entries=entries, full=None, environments=()))
    assert list(csv.reader(io.StringIO(text)))[1][:3] == ['b, "c"', "x", "4"]
    assert "\r" not in text


def test_all_files_are_written_and_linked(tmp_path: Path) -> None:
    result = made(FOUR, NONE, LOWER, None, environments=[ENVIRONMENT])
    folder = tmp_path / "new"
    files = write_study(result, {"Data set": "digits"}, folder, "a study")
    assert files == [folder / "a study.md", folder / "a study.csv", folder / "a study.png"]
    assert sorted(folder.iterdir()) == sorted(files)
    page = files[0].read_text(encoding="utf-8")
    assert page == markdown(result, {"Data set": "digits"}, picture="a%20study.png")
    assert "\n\n![What is best?](a%20study.png)\n\n|" in page
    assert files[1].read_text(encoding="utf-8") == csv_text(result)
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    def written(folder: str, environments: Sequence[Mapping[str, Any]]) -> list[bytes]:
        claim = Claim(text="a > b", better=(("a", "x"),), worse=(("b", "x"),))
        result = made(FOUR, NONE, LOWER, None, claims=(claim,), full=FOUR, environments=environments)
        return [path.read_bytes() for path in write_study(result, {}, tmp_path / folder, "made")]

    other = {**ENVIRONMENT, "threads": 2}
    shuffled = dict(reversed(ENVIRONMENT.items()))
    assert written("one", [ENVIRONMENT, other]) == written("two", [other, shuffled])


def test_a_study_that_cannot_be_plotted_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x' of made is not a number"):
        write_study(made(FOUR, plot="curves"), {}, tmp_path, "made")
    assert not list(tmp_path.iterdir())
