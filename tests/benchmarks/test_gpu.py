"""The script that measures on a GPU, on tiny problems and a processor."""

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The benchmarks are scripts beside each other, not a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import gpu
import measure

SETTINGS = ("--smoke", "--device", "cpu", "--threads", "1", "--seconds", "0.4")


def run(path: Path, *options: str) -> tuple[int, Any]:
    """Run the script; return its exit code and record."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["gpu.py", *SETTINGS, "--out", str(path), *options])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
    return int(ended.value.code or 0), json.loads(path.read_text(encoding="utf-8"))


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers(each)
    elif isinstance(value, float | int):
        yield value


def test_every_row_is_measured_and_finite(tmp_path: Path) -> None:
    code, record = run(tmp_path / "gpu.json")
    assert [row for row in record["rows"] if "error" in row] == []
    assert code == 0
    kinds = [row["row"] for row in record["rows"]]
    assert [kinds.count(kind) for kind in gpu.KINDS] == [2, 1, 2, 5, 4, 4]
    assert all(map(math.isfinite, numbers(record)))
    for row in record["rows"]:
        if row["row"] == "accuracy":
            assert {"engine", "precision"} <= row["environment"].keys()
            assert row["score"]["accuracies"]
            continue
        variants = {"datacondense"} if row["row"] == "methods" else {"plain", "datacondense"}
        assert variants <= row.keys()
        assert all({"seconds", "megabytes"} <= row[variant].keys() for variant in variants)
        backend = row["datacondense"].get("environment", row["datacondense"])
        assert {"engine", "precision"} <= backend.keys()
    assert {"card", "cuda", "cudnn", "torch"} <= record["environment"].keys()
    assert record["ceilings"]["convolution_gflops"]["bfloat16"]["forward"] > 0


def test_failed_rows_are_recorded_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> measure.Row:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "time_plain", failing)
    code, record = run(tmp_path / "gpu.json", "--rows", "evaluation", "inner")
    assert code == 1
    errors = {(row["row"], row.get("error")) for row in record["rows"]}
    assert errors == {("inner", None), ("evaluation", "RuntimeError: out of memory")}
    (kept,) = (row for row in record["rows"] if row["row"] == "inner")
    monkeypatch.undo()
    code, record = run(tmp_path / "gpu.json", "--rows", "evaluation")
    assert code == 0
    assert record["rows"][0] == kept
    assert ["error" in row for row in record["rows"]] == [False] * 3


def test_what_takes_too_long_is_stopped() -> None:
    def slow() -> measure.Row:
        time.sleep(60)
        return {}

    assert gpu.guarded(slow, 0.1) == {"error": "TimeoutError: It takes longer than 0 s."}


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    code, record = run(tmp_path / "gpu.json", "--rows", "inner")
    assert run(tmp_path / "gpu.json", "--minutes", "0") == (code, record)
