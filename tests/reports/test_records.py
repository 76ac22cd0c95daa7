"""Records of studies give back the numbers that they were made from; those of earlier releases are read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datacondense.errors import InputError
from datacondense.reports.records import read_noise_record, read_study_record, study_record
from datacondense.reports.study_page import markdown
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Published
from tests.reports.made_studies import Lines, made, networks

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
LEARNED = networks(
    (90, 90.1),
    (91, 91.1),
    missing=1,
    image_lr=(0.1, 0.5),
    condensing_seconds=(1.5, 2.5),
    iterations=(4.0, 5.5),
    shared_seconds=(0.0, 7.5),
    memory_peak=(400.0, 402.0),
    memory_added=(20.0, 22.0),
    evaluating_seconds=(0.5, 0.25),
)
OLD: dict[str, Any] = {
    "study": {
        "name": "made",
        "title": "What is best?",
        "rows": ["a", "b"],
        "columns": ["1", "2"],
        "row_axis": "set",
        "column_axis": "images",
        "source": "a paper",
        "plot": "heat map",
    },
    "entries": [
        {
            "row": "a",
            "column": "1",
            "missing": 1,
            "accuracies": [[0, 0, 0.9], [0, 1, 0.901], [1, 0, 0.91], [1, 1, 0.911]],
            "origins": [[0, "k"], [1, "l"]],
            "image_lrs": [0.1],
            "condensing_seconds": [1.5, 2.5],
            "draws": [4.0, 5.5],
            "shared_seconds": [0.0, 7.5],
            "memory": [[400.0, 20.0], [402.0, 22.0]],
            "evaluating_seconds": [0.5, 0.25, 0.75, 0.5],
        },
        {
            "row": "b",
            "column": "1",
            "missing": 0,
            "accuracies": [[0, 0, 0.8], [1, 0, 0.9]],
            "origins": [[0, "s"], [1, "s"]],
        },
        {"row": "b", "column": "2", "missing": 2, "accuracies": [], "origins": []},
    ],
    "whole": {"missing": 0, "accuracies": [[0, 0, 0.99]], "origins": []},
    "published": [["a", "1", 91.7, 0.5], ["b", "1", 80.0, None]],
    "claims": [["a ≥ b", [["a", "1"]], [["b", "1"]], False]],
    "environments": [{"engine": "eager"}],
}


def full_result() -> StudyResult:
    """Return a study with everything that a record can hold."""
    entries: list[list[Lines | None]] = [
        [LEARNED, None],
        [networks((80, 80.1), (81, 82), keys=("s", "s")), networks(missing=4)],
    ]
    return made(
        ("a", "b"),
        ("1", "2"),
        lambda y, x: entries[y][x],
        networks((99,), evaluating_seconds=(30.0,)),
        subject="MNIST",
        published={("a", "1"): Published(91.7, 0.5), ("b", "1"): Published(80.0)},
        source="a paper",
        claims=(Claim(text="a ≥ b", better=(("a", "1"),), worse=(("b", "1"),), strict=False),),
        plot="curves",
        paired={("a", "1"): ("b", "1"), ("b", "2"): ("b", "1")},
        ratios={"1": 0.5, "2": 1.0},
        environments=[{"engine": "eager", "threads": 1}],
    )


def test_a_record_holds_everything() -> None:
    result = full_result()
    record = json.loads(json.dumps(study_record(result), allow_nan=False))
    again = read_study_record(record | {"date": "2026-01-01"})
    assert again.study == result.study
    pd.testing.assert_frame_equal(again.frame, result.frame)
    assert again.environments == result.environments
    assert record["networks"]["accuracy"][4] is None
    assert json.loads(json.dumps(study_record(again))) == record


def test_older_records_are_read() -> None:
    result = read_study_record(OLD)
    first, shared, unfinished = result.table.to_dict("records")
    assert [first[name] for name in ("n", "sets", "missing")] == [4, 2, 1]
    assert first["mean"] == pytest.approx(0.9055)
    assert (first["image_lrs"], first["condensing_seconds"], first["iterations"]) == ((0.1,), 2.0, 4.75)
    assert (first["shared_seconds"], first["evaluating_seconds"]) == (3.75, 0.5)
    assert (first["memory_peak"], first["memory_added"]) == (401.0, 21.0)
    assert [shared[name] for name in ("n", "sets", "missing", "size")] == [2, 1, 0, "2 (1 × 2)"]
    assert [unfinished[name] for name in ("n", "sets", "missing")] == [0, 0, 2]
    assert result.full is not None
    assert (result.full["n"], result.full["mean"]) == (1, 0.99)
    assert result.claims["difference"].tolist() == pytest.approx([0.905 - 0.85])
    assert "## Costs" not in markdown(result, {})


def test_published_numbers_that_nobody_checked_are_left_out() -> None:
    assert read_study_record(OLD).study.published["a", "1"] == Published(91.7, 0.5)
    claims = [
        [text, *OLD["claims"][0][1:]] for text in ("recalled", "average > max, condensed and trained with")
    ]
    pooling = OLD | {"study": OLD["study"] | {"name": "pooling"}, "claims": claims}
    study = read_study_record(pooling).study
    assert (study.published, study.source, study.title) == ({}, "", "Accuracy by pooling")
    assert [claim.text for claim in study.claims] == ["average > max, condensed and trained with"]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("study-*.json")), ids=lambda path: str(path.stem))
def test_recorded_studies_are_the_same_after_reading_and_writing(path: Path) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    result = read_study_record(values)
    if "entries" in values:  # as earlier releases wrote them
        assert result.table["n"].tolist() == [len(entry["accuracies"]) for entry in values["entries"]]
    else:
        assert result.table["n"].sum() == len(values["networks"]["accuracy"])
    again = read_study_record(json.loads(json.dumps(study_record(result))))
    pd.testing.assert_frame_equal(again.frame, result.frame)


@pytest.mark.parametrize(
    "values", [{}, {"study": []}, {"study": {}, "published": 5}, [], None, {"networks": "x"}]
)
def test_values_that_are_no_record_get_a_sentence(values: Any) -> None:
    with pytest.raises(
        InputError, match=r"These values are no record of a study \(.*\): make the record again"
    ):
        read_study_record(values)
    with pytest.raises(InputError, match="These values are no record of gradient noise"):
        read_noise_record(values)
