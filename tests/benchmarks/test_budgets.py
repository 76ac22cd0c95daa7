"""The rows of the benchmark of budgets."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# The benchmarks are scripts beside each other, not a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import budget_tables
import budgets
import measure
import tables
from budgets import TABLE

from datacondense import SelectionConfig
from datacondense.condensation.registry import method_named
from tests.conftest import make_set


@pytest.mark.parametrize("row", TABLE["rows"], ids=lambda row: row["name"])
def test_every_row_has_settings_that_exist_and_a_protocol(row: dict[str, object]) -> None:
    kind = method_named(str(row["method"])) if "budget" in row else SelectionConfig
    given = {"method": row["method"]} if kind is SelectionConfig else {}
    built = kind(ipc=row["ipc"], **given, **row["settings"])  # type: ignore[arg-type]
    assert built.ipc == row["ipc"]
    assert row.get("protocol", row["dataset"]) in TABLE["protocols"]


def test_rows_have_names_of_their_own() -> None:
    names = [row["name"] for row in TABLE["rows"]]
    assert len(set(names)) == len(names)


def test_a_row_differs_from_the_one_beside_by_one_ingredient() -> None:
    rows = {row["name"]: row for row in TABLE["rows"]}
    for row in rows.values():
        if "beside" not in row:
            continue
        beside = rows[row["beside"]]
        assert [row[name] for name in ("dataset", "ipc", "method")] == [
            beside[name] for name in ("dataset", "ipc", "method")
        ]
        if "soft_labels" in row:
            assert row["settings"] == beside["settings"]
            assert row["teacher_epochs"] >= 1
        else:
            assert beside["settings"].items() <= row["settings"].items()
            assert row["settings"] != beside["settings"]


def test_a_teacher_labels_the_images_of_the_row_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[tuple[Any, ...]] = []
    images = make_set()

    def made(row: measure.Row, *_: Any) -> Any:
        called.append((row["name"],))
        return images, {"seconds": 1.0}

    def teacher(network: str, *_: Any, epochs: int, **__: Any) -> None:
        called.append((network, epochs))

    stand_ins = {
        "loaded": lambda _: (images, images),
        "made": made,
        "trained_teacher": teacher,
        "soft_labelled": lambda labelled, *_, **__: labelled,
        "evaluate": lambda *_, **__: SimpleNamespace(as_dict=dict),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(budgets, name, stand_in)
    options = Namespace(
        fraction=0.0, protocol=None, device="cpu", runs=tmp_path, scoring_threads=None, repeats=None
    )
    row = next(row for row in TABLE["rows"] if "soft_labels" in row)
    found = budgets.one_process(options, {"row": row["name"], "seed": 0})
    assert called == [(row["beside"],), (row["soft_labels"], row["teacher_epochs"])]
    assert (found["name"], found["fingerprint"]) == (row["name"], images.fingerprint)


def test_each_machine_and_each_scoring_of_a_row_is_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machines = (900.0, 256, 500), (150.0, 256, 80), (150.0, 64, 80)
    for name, (rate, batch, iterations) in zip(budget_tables.RECORDS, machines, strict=True):
        score = {"accuracies": [0.8, 0.9], "protocol": {"epochs": 300, "batch_size": batch}}
        row = {
            **{"row": "a", "made": "matching", "method": "distribution-matching"},
            **{"dataset": "mnist", "ipc": 1, "seconds": 60.0},
            **{"stored_numbers": 7840, "decoded_images": 40, "score": score},
        }
        rows = [{**row, "seed": seed, "iterations_done": iterations} for seed in range(2)]
        rows.append({**row, "row": "b", "made": "random", "method": "random", "seconds": 600.0, "seed": 0})
        if batch == 64:
            rows.append({**row, "row": "c", "made": "longer", "seconds": 600.0, "seed": 0})
        rates = {"float32": {"forward": rate / 2}, "bfloat16": {"forward": rate}}
        record = {"rows": rows, "ceilings": {"convolution_gflops": rates}}
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    tables.records.cache_clear()
    lines, few = (
        [line.strip("| ").split(" | ") for line in written().splitlines()[2:]]
        for written in (budget_tables.budgets, budget_tables.overview)
    )
    tables.records.cache_clear()
    assert [(*line[2:4], line[5], line[8], line[10]) for line in lines] == [
        ("matching", "900", "500", "300 / 256", "2 × 2"),
        ("matching", "150", "80", "300 / 256", "2 × 2"),
        ("matching", "150", "80", "300 / 64", "2 × 2"),
        ("random", "900", "–", "300 / 256", "1 × 2"),
        ("random", "150", "–", "300 / 256", "1 × 2"),
        ("random", "150", "–", "300 / 64", "1 × 2"),
        ("longer", "150", "–", "300 / 64", "1 × 2"),
    ]
    assert [line[2:4] for line in few] == [["60", "300 / 256"], ["600", "300 / 64"]]
