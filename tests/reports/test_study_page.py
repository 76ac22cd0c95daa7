"""The page and the table of a study, against numbers worked out by hand."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from datacondense.errors import InputError
from datacondense.reports.study_page import csv_text, markdown, write_study
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Entry, Published
from tests.reports.made_studies import Lines, networks, study, table_of

ENVIRONMENT = {
    "python": "3.11.2",
    "datacondense": "0.1.0",
    "device": "cpu",
    "threads": 1,
    "torch": "2.13.0",
    "precision": "float32",
    "engine": "fused",
}
NONE = networks(missing=4)
FOUR = networks((90, 92), (91, 93))  # 91.5, deviations 1.5, .5, .5, 1.5: sqrt(5 / 3) = 1.29
LOWER = networks((80, 82), (81, 83))
LABELS = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def four(*entries: Lines | None, full: Lines | None = None, **settings: Any) -> StudyResult:
    """Return a study of two rows and two columns; None leaves an entry out."""
    found = {labels: entry for labels, entry in zip(LABELS, entries, strict=False) if entry is not None}
    return study(found, full, **settings)


def test_accuracies_by_hand() -> None:
    page = markdown(four(FOUR, FOUR, LOWER, None), {"Iterations": "100", "Data set": "digits"})
    assert page.startswith(
        "# What is best?\n\n- Iterations: 100\n- Data set: digits\n\n| set \\\\ network | x | y |\n"
    )
    assert "\n| --- | ---: | ---: |\n" in page
    assert table_of(page) == [["a", "**91.5±1.3** (4)", "91.5±1.3 (4)"], ["b", "81.5±1.3 (4)", ""]]
    assert "n (sets × networks on each) is 4 (2 × 2). Bold is the highest mean of a column.\n" in page


def test_the_heading_names_the_subject() -> None:
    page = markdown(four(FOUR, subject="MNIST, ConvNet"), {}, picture="p.png")
    assert page.startswith("# What is best?: MNIST, ConvNet\n\n![What is best?: MNIST, ConvNet](p.png)\n\n|")


def test_published_numbers_are_beside_ours() -> None:
    published = {("a", "x"): Published(91.72, 0.5), ("a", "y"): Published(80.0), ("b", "y"): Published(1.0)}
    page = markdown(four(FOUR, NONE, LOWER, None, published=published, source="A book, p. 3"), {})
    assert table_of(page) == [
        ["a", "**91.5±1.3** (4) · *91.7±0.5*", "–† · *80.0*"],
        ["b", "81.5±1.3 (4)", ""],
    ]
    assert "In italics: published (A book, p. 3)." in page
    assert "published" not in markdown(four(FOUR, source="A book"), {})


def test_missing_networks_are_marked_and_explained() -> None:
    partly = networks((90, 92), (94,), missing=1)
    page = markdown(four(partly, NONE, FOUR, partly), {})
    assert table_of(page) == [["a", "**92.0±2.0** (3)†", "–‡"], ["b", "91.5±1.3 (4)", "92.0±2.0 (3)†"]]
    assert "† 1 of 4 networks is missing: failed or not yet run.\n" in page
    assert "‡ 4 of 4 networks are missing: failed or not yet run.\n" in page
    assert "is 3 (on 2 sets), 4 (2 × 2)." in page
    assert "– means that no network is finished." in page


def test_notes_explain_only_what_occurs() -> None:
    page = markdown(four(FOUR, FOUR, FOUR, FOUR), {})
    for text in ("†", "missing", "–", "Bold", "italics", "##", "![", "on 2 sets"):
        assert text not in page


def test_marks_never_run_out() -> None:
    columns = tuple("abcdefgh")
    entries: dict[Entry, Lines] = {
        ("r", c): networks((90,), missing=index) for index, c in enumerate(columns)
    }
    page = markdown(study(entries, rows=("r",), columns=columns), {})
    shown = [text.removeprefix("90.0 (1)") for text in table_of(page)[0][1:]]
    assert shown == ["", "†", "‡", "§", "¶", "††", "‡‡", "§§"]
    assert "\n§§ 7 of 8 networks are missing" in page


def test_a_single_network_has_no_deviation() -> None:
    result = four(networks((90,)))
    assert table_of(markdown(result, {}))[0] == ["a", "90.0 (1)", ""]
    assert csv_text(result).splitlines()[1] == "a,x,1,1,0,90.000000" + 13 * ","


@pytest.mark.parametrize(
    ("first", "second", "bold"),
    [(91.6, 91.4, [True, False]), (91.4, 91.6, [False, True]), (91.52, 91.48, [False, False])],
)
def test_the_highest_mean_is_bold_where_it_shows(first: float, second: float, bold: list[bool]) -> None:
    page = markdown(four(networks((first, first)), None, networks((second, second))), {})
    assert [row[1].startswith("**") for row in table_of(page)] == bold


def test_letters_of_markdown_are_escaped() -> None:
    result = four(
        *(FOUR, FOUR),
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
    page = markdown(four(FOUR, NONE, LOWER, None, full=networks((99, 98, 97), missing=2)), {})
    found = table_of(page, "## Relative to the full data set, %")
    assert found == [["a", "93.4", "–†"], ["b", "83.2", ""]]  # 91.5 / 98, 81.5 / 98
    assert "100 % is the accuracy on the full data set: 98.0±1.0 (3). 2 of 5 networks are missing:" in page
    unknown = markdown(four(FOUR, full=networks(missing=5)), {})
    assert "## Relative" not in unknown
    assert (
        "There is no accuracy on the full data set to compare with. 5 of 5 networks are missing:" in unknown
    )
    assert "full data set" not in markdown(four(FOUR), {})


def test_seeds_that_share_a_set_count_as_one() -> None:
    shared = networks((90, 92), (91, 93), keys=("same", "same"))
    assert "n (sets × networks on each) is 4 (1 × 4)." in markdown(four(shared), {})
    assert csv_text(four(shared)).splitlines()[1].startswith("a,x,4,1,")


def test_orderings_by_hand() -> None:
    claims = (
        Claim(text="a > b", better=(("a", "x"),), worse=(("b", "x"),)),
        Claim(text="b > a", better=(("b", "x"),), worse=(("a", "x"),)),
        Claim(text="a > a", better=(("a", "x"),), worse=(("a", "x"),)),
        Claim(text="both", better=(("a", "x"), ("a", "y")), worse=(("b", "x"),), strict=False),
        Claim(text="one", better=(("b", "y"),), worse=(("b", "x"),)),
        Claim(text="none", better=(("c", "z"),), worse=(("b", "x"),)),
    )
    one_set, single = networks((90, 92)), networks((70,), missing=3)
    printed = {("a", "x"): Published(91.7, 0.5), ("b", "x"): Published(83.5), ("b", "y"): Published(80.0)}
    page = markdown(four(FOUR, one_set, LOWER, single, claims=claims, published=printed), {})
    assert table_of(page, "## Orderings") == [
        ["a > b", "+10.00 (+10.00 to +10.00)", "4 (2 × 2)", "reproduced", "+8.20"],
        ["b > a", "-10.00 (-10.00 to -10.00)", "4 (2 × 2)", "contradicted", "-8.20"],
        ["a > a", "+0.00 (+0.00 to +0.00)", "4 (2 × 2)", "undecided", "+0.00"],
        ["both", "+10.00 (+10.00 to +10.00)", "2 (1 × 2)", "undecided", ""],
        ["one", "-10.00 (no interval)", "1 (1 × 1)", "–", "-3.50"],
    ]
    assert "A single set decides nothing: its interval, over networks, is valid for that set only." in page
    assert "\nNot known yet: none.\n" in page
    complete = markdown(four(FOUR, one_set, LOWER, single, claims=claims[:1]), {})
    assert "single set" not in complete
    assert "Not known" not in complete


def test_environments_are_listed_once() -> None:
    python = {**ENVIRONMENT, "engine": "torch"}
    page = markdown(four(FOUR, environments=[python, ENVIRONMENT, dict(ENVIRONMENT)]), {})
    rest = "precision float32, threads 1, torch 2.13.0, device cpu, datacondense 0.1.0, python 3.11.2"
    assert page.endswith(f"## Environments\n\n- engine fused, {rest}\n- engine torch, {rest}\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 2}, "numbers of threads"),
        ({"device": "cuda"}, "devices"),
        ({"datacondense": "0.2.0", "threads": 2}, "numbers of threads and versions of datacondense"),
    ],
)
def test_mixed_environments_are_a_warning(change: dict[str, Any], words: str) -> None:
    page = markdown(four(FOUR, environments=[ENVIRONMENT, {**ENVIRONMENT, **change}]), {})
    assert page.endswith(
        f"\n\n**The table mixes different {words}**, which may cause differences between entries.\n"
    )


def test_csv_by_hand() -> None:
    published = {("a", "x"): Published(91.7, 0.5), ("b", "x"): Published(80)}
    result = four(networks((89, 91), (91, 93)), NONE, networks((81.25, 81.25)), None, published=published)
    low, high = "78.293795", "103.706205"  # 12.7062 for one degree of freedom, times sqrt(2) / sqrt(2)
    header, *lines = csv.reader(io.StringIO(csv_text(result)))
    none = [""] * 8
    assert len(header) == 19
    assert lines == [
        ["a", "x", "4", "2", "0", "91.000000", "1.632993", low, high, "91.700000", "0.500000", *none],
        ["a", "y", "0", "0", "4", "", "", "", "", "", "", *none],
        ["b", "x", "2", "1", "0", "81.250000", "0.000000", "81.250000", "81.250000", "80.000000", "", *none],
    ]


def test_labels_with_commas_survive_csv() -> None:
    text = csv_text(study({('b, "c"', "x"): FOUR}, rows=('b, "c"',)))
    assert list(csv.reader(io.StringIO(text)))[1][:3] == ['b, "c"', "x", "4"]
    assert "\r" not in text


def test_all_files_are_written_and_linked(tmp_path: Path) -> None:
    result = four(FOUR, NONE, LOWER, None, environments=[ENVIRONMENT])
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / f".a study.png.{os.getpid()}.datacondense-part").touch()  # as a killed process leaves it
    files = write_study(result, {"Data set": "digits"}, folder, "a study")
    assert files == [folder / "a study.md", folder / "a study.csv", folder / "a study.png"]
    assert sorted(folder.iterdir()) == sorted(files)
    assert "\n\n![What is best?](a%20study.png)\n\n|" in files[0].read_text(encoding="utf-8")
    assert files[1].read_text(encoding="utf-8") == csv_text(result)
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    def written(folder: str, environments: Sequence[Mapping[str, Any]]) -> list[bytes]:
        claim = Claim(text="a > b", better=(("a", "x"),), worse=(("b", "x"),))
        result = four(FOUR, NONE, LOWER, None, claims=(claim,), full=FOUR, environments=environments)
        return [path.read_bytes() for path in write_study(result, {}, tmp_path / folder, "made")]

    other = {**ENVIRONMENT, "threads": 2}
    shuffled = dict(reversed(ENVIRONMENT.items()))
    assert written("one", [ENVIRONMENT, other]) == written("two", [other, shuffled])


def test_a_study_that_cannot_be_plotted_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x' of made is not a number"):
        write_study(four(FOUR, plot="curves"), {}, tmp_path, "made")
    assert not list(tmp_path.iterdir())


def test_pages_load_no_matplotlib() -> None:
    program = "from datacondense.reports import records, study_page; import sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
