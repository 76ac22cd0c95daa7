"""Records of studies give back the numbers that they were made from."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import studies  # noqa: E402

from datacondense.reports import markdown  # noqa: E402
from datacondense.studies import Claim, Published, Study, StudyResult  # noqa: E402
from datacondense.studies.results import EntryResult  # noqa: E402


def made() -> StudyResult:
    """Make a study with everything that a record can hold."""
    study = Study(
        name="made",
        title="What is best?",
        rows=("a", "b"),
        columns=("1", "2"),
        row_axis="set",
        column_axis="images",
        entries={},
        published={("a", "1"): Published(91.7, 0.5), ("b", "1"): Published(80.0)},
        source="a paper",
        claims=(Claim(text="a ≥ b", better=(("a", "1"),), worse=(("b", "1"),), strict=False),),
        drawing="curves",
    )
    accuracies = {(seed, repeat): 0.9 + seed / 100 + repeat / 1000 for seed in (0, 1) for repeat in (0, 1)}
    lower = {pair: value - 0.1 for pair, value in accuracies.items()}
    return StudyResult(
        study=study,
        entries={
            ("a", "1"): EntryResult(accuracies=accuracies, missing=1),
            ("b", "1"): EntryResult(accuracies=lower, missing=0, origins={0: "same", 1: "same"}),
        },
        whole=EntryResult(accuracies={(0, 0): 0.99}, missing=0),
        environments=[{"engine": "eager", "threads": 1}],
    )


def test_a_record_gives_the_same_page() -> None:
    result = made()
    again = studies._result(json.loads(json.dumps(studies._plain(result))))
    assert markdown(again, {}) == markdown(result, {})
    assert again.entries == result.entries


@pytest.mark.parametrize(
    "record", sorted((BENCHMARKS / "results").glob("study-*.json")), ids=lambda path: path.stem
)
def test_the_page_has_every_record(record: Path) -> None:
    page = (BENCHMARKS.parent / "docs" / "studies-mnist.md").read_text(encoding="utf-8")
    values = json.loads(record.read_text(encoding="utf-8"))
    assert values["command"] in page
    tables = markdown(studies._result(values), {}).split("\n\n")
    assert all(part in page for part in tables if part.startswith("| "))
