"""docs/noise-aware.md is up to date with its records."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import measure  # noqa: E402
import noise_aware  # noqa: E402
from noise_aware_words import Numbers  # noqa: E402

PAGE = (BENCHMARKS.parent / "docs" / "noise-aware.md").read_text(encoding="utf-8")


def test_noise_aware_page_is_written_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_aware, "DOCS", tmp_path)
    assert noise_aware.page() == 0
    assert (tmp_path / "noise-aware.md").read_text(encoding="utf-8") == PAGE
    plots = {path.name for path in tmp_path.glob("*.png")}
    assert plots
    assert all(f"({name})" in PAGE and (BENCHMARKS.parent / "docs" / name).exists() for name in plots)


@pytest.mark.parametrize("stem", [stem for stem, _ in noise_aware.recorded("study-*", "noise-*")])
def test_noise_aware_page_has_every_record(stem: str) -> None:
    values = measure.read_record(measure.RESULTS / f"{stem}.json")
    if any(stem.startswith((f"study-{name}-", "noise-")) for name in noise_aware.STUDIES):
        assert f"benchmarks/results/{stem}.json" in PAGE
        assert values["command"].split(" --out")[0] in PAGE


def test_numbers_of_noise_aware_page_are_those_of_its_records() -> None:
    (_, values), *_ = noise_aware.recorded("study-noise-aware-cifar10-*")
    numbers = Numbers({"study-noise-aware-cifar10-ipc1": values}, {}, {})
    entry = next(e for e in values["entries"] if (e["row"], e["column"]) == ("plain", "equal iterations"))
    accuracies = [value for _, _, value in entry["accuracies"]]
    mean = f"{100 * sum(accuracies) / len(accuracies):.1f}"
    assert numbers.accuracy("noise-aware-cifar10", "plain", "equal iterations").startswith(mean)
    text = numbers.difference(
        "noise-aware-cifar10", "class-collective, iterate averaging", "equal iterations"
    )
    assert f"n = {len(accuracies)} on " in text
    assert numbers.count("noise-aware-cifar10", "loss").endswith("of 2")
