"""The tables of the docs show the numbers of the records."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

# The benchmarks are scripts beside each other, not a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import measure
import result_tables
import study_tables
import tables

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(autouse=True)
def read_again() -> Iterator[None]:
    yield
    for cached in (tables.records, study_tables.study, study_tables.noise):
        cached.cache_clear()


def read(stem: str) -> Any:
    return json.loads((measure.RESULTS / f"{stem}.json").read_text(encoding="utf-8"))


def line_of(table: str, *entries: str) -> list[str]:
    lines = ([text.strip() for text in line.strip("|").split("|")] for line in table.splitlines())
    (found,) = [line for line in lines if line[: len(entries)] == list(entries)]
    return found[len(entries) :]


def test_accuracies_of_a_study_are_those_of_its_record() -> None:
    values = read("study-noise-aware-cifar10-ipc1")["entries"]
    (entry,) = [one for one in values if (one["row"], one["column"]) == ("plain", "equal draws")]
    found = [100 * value for *_, value in entry["accuracies"]]
    sets = len({seed for seed, *_ in entry["accuracies"]})
    table = study_tables.accuracies("noise-aware", ("plain", "equal iterations"))
    assert line_of(table, "CIFAR-10", "plain", "equal iterations") == [
        f"{fmean(found):.1f}±{stdev(found):.1f}",
        "100",
        f"{len(found)} ({sets} × {len(found) // sets})",
    ]


def test_share_of_the_data_is_that_of_its_record() -> None:
    entries = read("noise-mnist-ipc1")["entries"]
    (data,) = [
        one["all_classes"]["data"] for one in entries if (one["network"], one["variant"]) == ("lenet", "none")
    ]
    low, high = data["interval"]
    text = f"{100 * data['share']:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    assert line_of(study_tables.data_shares(), "LeNet")[0] == text


def test_seconds_of_timed_runs_are_those_of_their_record() -> None:
    seconds = [row["seconds"] for row in read("time-to-accuracy")["rows"] if "seed" in row]
    each = ", ".join(f"{one:.0f}" for one in seconds)
    assert line_of(result_tables.overview(), "MNIST", "91.8±0.5")[-1] == f"{fmean(seconds):.0f} ({each})"


def test_table_changes_with_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables.before_after()
    values = read("before-after")
    for row in values["rows"]:
        row["seconds"] *= 1 + (row["side"] == "after")
    (tmp_path / "before-after.json").write_text(json.dumps(values), encoding="utf-8")
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    tables.records.cache_clear()
    ratios = [float(line_of(table, "demo")[2]) for table in (before, tables.before_after())]
    assert ratios[1] == pytest.approx(2 * ratios[0], abs=0.015)


def test_measured_times_are_compared_with_their_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = "`datacondense --help` within 0.3 s"
    assert line_of(tables.targets(), limit)[1] == "met"
    for row in tables.record("startup")["rows"]:
        row["seconds"] = 0.31
    assert line_of(tables.targets(), limit) == ["0.310 s (n = 10)", "**missed**"]


@pytest.mark.parametrize("path", sorted(measure.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_record_is_named_on_a_page(path: Path) -> None:
    assert any(path.stem in page.read_text(encoding="utf-8") for page in PAGES)
