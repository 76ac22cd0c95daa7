"""docs/studies-mnist.md has every record."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import measure  # noqa: E402
import studies  # noqa: E402

from datacondense.files import write_text  # noqa: E402
from datacondense.reports.study_records import read_study_record  # noqa: E402
from datacondense.reports.study_tables import markdown  # noqa: E402


@pytest.mark.parametrize("record", studies.recorded(), ids=lambda path: path.stem)
def test_studies_page_has_every_record(record: Path) -> None:
    page = (BENCHMARKS.parent / "docs" / "studies-mnist.md").read_text(encoding="utf-8")
    values = measure.read_record(record)
    assert values["command"] in page
    tables = markdown(read_study_record(values), {}).split("\n\n")
    assert all(part in page for part in tables if part.startswith("| "))


def test_studies_page_leaves_out_records_of_other_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    for stem in (
        *("study-ipc-mnist", "study-norm-mnist-ipc1", "study-cross-architecture-mnist-ipc1"),
        *("study-norm-cifar10-ipc1", "study-norm-fashion-mnist-ipc1", "study-representatives-mnist-ipc1"),
        *("study-noise-mnist", "noise-mnist", "study-masks-mnist-ipc1"),
    ):
        write_text(tmp_path / f"{stem}.json", "{}")
    assert [path.stem for path in studies.recorded()] == [
        "study-cross-architecture-mnist-ipc1",
        "study-norm-mnist-ipc1",
        "study-ipc-mnist",
    ]


def test_studies_page_has_records() -> None:
    assert len(studies.recorded()) >= 6
