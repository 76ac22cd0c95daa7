"""The page of noise-aware matching is what its records say."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import noise_aware  # noqa: E402
from noise_aware_words import Numbers  # noqa: E402

PAGE = (BENCHMARKS.parent / "docs" / "noise-aware.md").read_text(encoding="utf-8")


def test_the_page_is_written_from_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_aware, "DOCS", tmp_path)
    assert noise_aware.page() == 0
    assert (tmp_path / "noise-aware.md").read_text(encoding="utf-8") == PAGE
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures
    assert all(f"({name})" in PAGE and (BENCHMARKS.parent / "docs" / name).exists() for name in pictures)


@pytest.mark.parametrize("stem", [stem for stem, _ in noise_aware.recorded("study-*", "noise-*")])
def test_every_record_of_noise_is_on_the_page(stem: str) -> None:
    values = json.loads((BENCHMARKS / "results" / f"{stem}.json").read_text(encoding="utf-8"))
    if any(stem.startswith((f"study-{name}-", "noise-")) for name in noise_aware.STUDIES):
        assert f"benchmarks/results/{stem}.json" in PAGE
        assert values["command"].split(" --out")[0] in PAGE


def test_numbers_are_read_from_the_records() -> None:
    (_, values), *_ = noise_aware.recorded("study-noise-aware-cifar10-*")
    numbers = Numbers({"study-noise-aware-cifar10-ipc1": values}, {}, {})
    entry = next(e for e in values["entries"] if (e["row"], e["column"]) == ("plain", "equal draws"))
    accuracies = [value for _, _, value in entry["accuracies"]]
    mean = f"{100 * sum(accuracies) / len(accuracies):.1f}"
    assert numbers.accuracy("noise-aware-cifar10", "plain", "equal draws").startswith(mean)
    said = numbers.difference("noise-aware-cifar10", "classes joined, images averaged", "equal draws")
    assert f"n = {len(accuracies)} on " in said
    assert numbers.count("noise-aware-cifar10", "loss").endswith("of 2")
