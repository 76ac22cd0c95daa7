"""Records of studies give back the numbers that they were made from."""

import json
from typing import Any

from datacondense.reports.study_records import read_study_record, study_record
from datacondense.reports.study_tables import csv_text, markdown
from datacondense.studies.differences import EntryResult
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Claim, Published, Study


def made() -> StudyResult:
    """Return a study with everything that a record can hold."""
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
        plot="curves",
        paired={("a", "1"): ("b", "1"), ("b", "2"): ("b", "1")},
        ratios={"1": 0.5, "2": 1.0},
    )
    accuracies = {(seed, repeat): 0.9 + seed / 100 + repeat / 1000 for seed in (0, 1) for repeat in (0, 1)}
    lower = {pair: value - 0.1 for pair, value in accuracies.items()}
    return StudyResult(
        study=study,
        entries={
            ("a", "1"): EntryResult(
                accuracies=accuracies,
                missing=1,
                image_lrs=(0.1, 0.5),
                condensing_seconds=(1.5, 2.5),
                iterations=(4.0, 5.5),
                shared_seconds=(0.0, 7.5),
                memory=((400.0, 20.0), (402.0, 22.0)),
                evaluating_seconds=(0.5, 0.25, 0.75),
            ),
            ("b", "2"): EntryResult(accuracies={}, missing=4),
            ("b", "1"): EntryResult(accuracies=lower, missing=0, origins={0: "same", 1: "same"}),
        },
        full=EntryResult(accuracies={(0, 0): 0.99}, missing=0, evaluating_seconds=(30.0,)),
        environments=[{"engine": "eager", "threads": 1}],
    )


def test_a_record_holds_everything() -> None:
    result = made()
    again = read_study_record(json.loads(json.dumps(study_record(result))))
    assert again == result
    assert markdown(again, {}) == markdown(result, {})
    assert csv_text(again) == csv_text(result)
    assert study_record(again) == study_record(result)


def test_a_record_is_plain_json() -> None:
    record: dict[str, Any] = json.loads(json.dumps(study_record(made())))
    assert record["study"]["rows"] == ["a", "b"]
    assert record["paired"] == [[["a", "1"], ["b", "1"]], [["b", "2"], ["b", "1"]]]
    assert record["entries"][0] == {
        "row": "a",
        "column": "1",
        "missing": 1,
        "accuracies": [[0, 0, 0.9], [0, 1, 0.901], [1, 0, 0.91], [1, 1, 0.911]],
        "origins": [],
        "image_lrs": [0.1, 0.5],
        "condensing_seconds": [1.5, 2.5],
        "iterations": [4.0, 5.5],
        "shared_seconds": [0.0, 7.5],
        "memory": [[400.0, 20.0], [402.0, 22.0]],
        "evaluating_seconds": [0.5, 0.25, 0.75],
    }
    assert record["ratios"] == {"1": 0.5, "2": 1.0}


def test_older_records_have_no_pairs() -> None:
    record = json.loads(json.dumps(study_record(made())))
    del record["paired"]
    for entry in (*record["entries"], record["full"]):
        del entry["image_lrs"], entry["condensing_seconds"], entry["iterations"]
    result = read_study_record(record | {"date": "2026-01-01"})
    assert not result.study.paired
    assert [entry.image_lrs for entry in result.entries.values()] == [()] * 3
    assert [entry.accuracies for entry in result.entries.values()] == [
        entry.accuracies for entry in made().entries.values()
    ]


def test_older_records_have_no_costs() -> None:
    record = json.loads(json.dumps(study_record(made())))
    del record["ratios"]
    for entry in (*record["entries"], record["full"]):
        del entry["shared_seconds"], entry["memory"], entry["evaluating_seconds"]
    result = read_study_record(record)
    assert not result.study.ratios
    assert result.full is not None
    for entry in (*result.entries.values(), result.full):
        assert (entry.shared_seconds, entry.memory, entry.evaluating_seconds) == ((), (), ())
    assert result.entries["a", "1"].condensing_seconds == (1.5, 2.5)
    assert "## Costs" not in markdown(result, {})
