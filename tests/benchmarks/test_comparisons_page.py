"""docs/compared.md is up to date with its records."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import comparisons  # noqa: E402
import studies  # noqa: E402

DOCS = BENCHMARKS.parent / "docs"


def test_compared_page_is_written_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (comparisons, studies):
        monkeypatch.setattr(module, "DOCS", tmp_path)
    comparisons.page()
    page = (tmp_path / "compared.md").read_text(encoding="utf-8")
    assert page == (DOCS / "compared.md").read_text(encoding="utf-8")
    plots = {path.name for path in tmp_path.glob("*.png")}
    assert len(plots) == len(comparisons.recorded())
    assert all(f"({name})" in page and (DOCS / name).exists() for name in plots)


def test_compared_page_has_records_of_both_tables() -> None:
    names = [path.stem for path in comparisons.recorded()]
    assert any(name.startswith("study-comparison-mnist") for name in names)
    assert any(name.startswith("study-comparison-cifar10") for name in names)
    assert any(name.startswith("study-distillation-mnist") for name in names)
