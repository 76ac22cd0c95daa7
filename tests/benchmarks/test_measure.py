"""Counts, statistics and records of the benchmarks."""

import json
import runpy
import sys
from pathlib import Path

import pytest

# The benchmarks are scripts beside each other, not a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import measure
import pandas as pd
from comparison import compare, median_interval, share_of_ceiling, step_operations
from library import settings


@pytest.mark.parametrize(("shape", "sides"), [((3, 32, 32), (32, 16, 8)), ((1, 28, 28), (32, 16, 8))])
def test_step_operations_are_those_of_convolutions_and_linear_layer(
    shape: tuple[int, int, int], sides: tuple[int, ...]
) -> None:
    channels = (shape[0], 128, 128)
    layers = [2 * 9 * width * 128 * side**2 for width, side in zip(channels, sides, strict=True)]
    layers.append(2 * 128 * 4 * 4 * 10)
    assert step_operations(shape, num_classes=10, images=7) == {
        "forward": 7 * sum(layers),
        "weight_gradient": 7 * sum(layers),
        "input_gradient": 7 * sum(layers[1:]),
    }


def test_share_of_ceiling_weighs_each_kind_by_its_rate() -> None:
    operations = {"forward": 2_000_000_000, "weight_gradient": 1_000_000_000}
    assert share_of_ceiling(operations, {"forward": 2.0, "weight_gradient": 1.0}, 4.0) == pytest.approx(0.5)


def test_median_interval_uses_order_statistics_of_sign_test() -> None:
    # Tables of the sign test: n = 6 the extremes, n = 10 the second, n = 20 the sixth from either end.
    assert median_interval(range(5)) is None
    assert median_interval(range(6)) == [0, 5]
    assert median_interval([*range(9, -1, -1)]) == [1, 8]
    assert median_interval(range(20)) == [5, 14]


def test_compare_computes_ratios_of_pairs() -> None:
    rows: list[measure.Row] = [
        {"pair": 0, "variant": "plain", "seconds": 8.0},
        {"pair": 0, "variant": "datacondense", "seconds": 2.0},
        {"pair": 1, "variant": "plain", "seconds": 3.0},
        {"pair": 1, "variant": "datacondense", "seconds": 1.0},
        {"profile": "datacondense", "table": []},
    ]
    assert compare(pd.DataFrame(rows), "seconds") == (1.5, 5.5, 3.5, None, 2)


def test_settings_are_read_as_literals_or_text() -> None:
    read = settings(["image_lr=0.5", "start=real", "network_epochs=None", "network=a.b:c"])
    assert read == {"image_lr": 0.5, "start": "real", "network_epochs": None, "network": "a.b:c"}


def test_former_record_is_read_with_current_names(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    written = {
        "command": "datacondense study masks mnist --draws 5 --override dm.draws=2 --whole-networks 0 --out OUT",
        "facts": {"Sets": "3 of each arm, 5 outer draws"},
        "cells": 2,
        "choices": [{"join_classes": True}],
        "whole": None,
        "variants": ["join-classes"],
    }
    path.write_text(json.dumps(written), encoding="utf-8")
    assert measure.read_record(path) == {
        "command": "datacondense study masks mnist --iterations 5 --override dm.iterations=2 --full-networks 0 "
        "--out OUT",
        "facts": {"Sets": "3 of each variant, 5 iterations"},
        "tasks": 2,
        "searches": [{"class_collective": True}],
        "full": None,
        "variants": ["class-collective"],
    }


def test_record_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def one_process(_: measure.Options, __: measure.Point) -> measure.Row:
        return {}

    def run_child(script: str | Path, *arguments: str, **variables: str) -> measure.Row:
        if Path(script).name == "ceilings.py":
            return {"threads": 1, "environment": {}, "ceilings": {}}
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"seconds": 1.0}

    def run(pairs: int, steps: int = 2) -> None:
        options = ["--pairs", str(pairs), "--steps", str(steps), "--out", str(tmp_path / "record.json")]
        monkeypatch.setattr(sys, "argv", ["x.py", *options])
        measure.benchmark("x", pairs=3, steps=1)(one_process)

    monkeypatch.setattr(one_process, "__module__", "__main__")
    monkeypatch.setattr(measure, "run_child", run_child)
    with pytest.raises(KeyboardInterrupt):
        run(1)
    run(1)
    run(2)
    measured = [(json.loads(call)["pair"], json.loads(call)["variant"]) for call in calls]
    again = [(0, "plain"), (0, "datacondense"), (0, "datacondense"), (1, "plain"), (1, "datacondense")]
    assert measured == again
    assert len(json.loads((tmp_path / "record.json").read_text())["rows"]) == 4
    with pytest.raises(SystemExit, match="holds a measurement with other settings"):
        run(2, steps=3)


def test_options_are_read_by_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "--shape 1x28x28 --set a=1 b=c --epochs 5 --validate 20 40 --cold-cache --seeds 7"
    monkeypatch.setattr(sys, "argv", ["x.py", *given.split()])
    read = measure.parse_options(
        shape=(3, 32, 32), set=[str], epochs=int, validate=[int], cold_cache=False, seeds=[0], time_limit=str
    )
    assert vars(read) == {
        **{"child": None, "shape": (1, 28, 28), "set": ["a=1", "b=c"], "epochs": 5, "validate": [20, 40]},
        **{"cold_cache": True, "seeds": [7], "time_limit": None},
    }


RECORDS = [
    path
    for path in sorted(measure.RESULTS.glob("*.json"))
    if not path.stem.startswith((
        "study-",
        "noise-",
        "image-content-",
        "continual-",
        "search-",
        "stacked",
        "stopped-runs",
    ))
]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_recorded_command_continues_its_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = measure.read_record(path)
    _, script, *arguments = record["command"].splitlines()[0].split()
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    found: list[measure.Row] = []

    class Continued:
        def __init__(self, out: Path, settings: measure.Row, threads: int | None) -> None:
            found.append(json.loads(json.dumps(settings, default=str)))
            assert out.stem == path.stem or "settings" not in record
            raise KeyboardInterrupt

    monkeypatch.setattr(measure, "Record", Continued)
    monkeypatch.setattr(measure, "code_version", lambda _: record["settings"]["before"])
    with pytest.raises(KeyboardInterrupt):
        runpy.run_path(str(measure.RESULTS.parents[1] / script), run_name="__main__")
    # Records of earlier releases without settings can be repeated, not continued.
    assert found == [record.get("settings", found[0])]
