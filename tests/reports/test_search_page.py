"""Page, table, plot and record of an architecture search: every number where it belongs, and missing ones explained."""

import json
from math import nan
from pathlib import Path

import pytest

from datacondense.errors import InputError
from datacondense.reports.records import read_search_record, search_record
from datacondense.reports.search_page import search_csv_text, search_markdown, write_search
from datacondense.reports.search_plot import search_figure
from tests.applications.made_search import made

RESULT = made({
    "random": {"a*b": (0.5, 0.51), "mlp": (0.7, 0.72), "lenet": (0.6, 0.63)},
    "mine": {"a*b": (0.0, nan), "mlp": (0.5, 0.55)},
    "reference": {"a*b": (0.9, 0.91), "mlp": (0.8, 0.82), "lenet": (0.7, 0.73)},
})
ROWS = (
    "| random | mlp | 82.0 | 72.0 | -0.50 (",
    "| mine | mlp | 82.0 | 55.0 | -1.00 (",
    r"| reference | a\*b | 91.0 | 91.0 | 1.00 | 1.00 | 1.00 | 1.00 | 3 | 4.5 | 50000 |",
)


def test_page_has_facts_picture_table_and_what_is_missing() -> None:
    page = search_markdown(RESULT, {"Data set": "a*b"}, picture="p.png")
    assert page.startswith("# Which architecture a small set picks\n\n- Data set: a\\*b\n\n![Which")
    for row in ROWS:
        assert f"\n{row}" in page
    assert "Architectures without a number, of 3: mine: 1. Training diverged 1 times, which counts" in page
    assert page.endswith("\n\n## Environments\n\n- engine fused, threads 1\n")
    assert "without a number" not in search_markdown(made({"random": {"a": (0.5, 0.5)}}), {})


def test_csv_has_a_line_for_each_score_and_no_seconds() -> None:
    lines = search_csv_text(RESULT).splitlines()
    assert lines[0] == "proxy,network,width,depth,norm,activation,pooling,held_out,test,images"
    assert lines[1] == "random,a*b,,,,,,50,51,100"
    assert lines[4] == "mine,a*b,,,,,,0,,100"
    assert len(lines) == 1 + 8


def test_a_record_gives_the_same_files(tmp_path: Path) -> None:
    record = json.loads(json.dumps(search_record(RESULT), sort_keys=True))
    again = read_search_record(record)
    for name, result in (("first", RESULT), ("second", again)):
        write_search(result, {"Data set": "x"}, tmp_path / name, "search")
    for ending in ("md", "csv", "png"):
        first, second = (tmp_path / name / f"search.{ending}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(InputError, match="no record of an architecture search"):
        read_search_record({"proxies": []})


def test_plot_has_a_panel_for_each_proxy_and_marks_what_it_picks() -> None:
    panels = search_figure(RESULT).axes
    assert [panel.get_title() for panel in panels] == ["random", "mine"]
    points, picked = (each.get_offsets().tolist() for each in panels[0].collections)  # type: ignore[union-attr]
    assert sorted(points) == [[70, 60], [80, 70], [90, 50]]
    assert picked == [[80, 70]]


def test_a_search_without_reference_has_a_plot_without_points() -> None:
    (panel,) = search_figure(made({"random": {"a": (0.5, 0.5), "b": (0.6, 0.6)}})).axes
    assert not panel.collections
