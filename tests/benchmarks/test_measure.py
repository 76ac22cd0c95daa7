"""Counts, statistics and records of the benchmarks."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

# The benchmarks are scripts beside each other, not a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import measure
import plain
from comparison import compare, median_interval, pair_points
from library import settings
from matching_step import share_of_ceiling, step_operations
from paired_accuracy import mean_interval


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 64)])
def test_step_operations_equal_torch_flop_counter(shape: tuple[int, int, int]) -> None:
    network, images = plain.ConvNet(shape, num_classes=4), torch.randn(2, *shape)
    with FlopCounterMode(display=False) as counter:
        loss = network(images).logsumexp(1).sum()
        torch.autograd.grad(loss, list(network.parameters()))
    counted = step_operations(shape, num_classes=4, batch=2)
    assert sum(counted.values()) == 4 * counter.get_total_flops()


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
    compared = compare(rows, "seconds")
    assert compared["ratio"] == {
        "median": 3.5,
        "quartiles": [3.25, 3.75],
        "n": 2,
        "median_interval_95": None,
    }
    assert compared["plain"]["median"] == 5.5


def test_mean_interval_is_student_t() -> None:
    # t(0.975, 2 degrees of freedom) = 4.3027; sd = 1, n = 3.
    assert mean_interval([1.0, 2.0, 3.0])["interval_95"] == pytest.approx([-0.4841, 4.4841], abs=1e-4)
    assert mean_interval([1.0])["interval_95"] is None


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

    def run_child(script: str, *arguments: str, **variables: str) -> measure.Row:
        if Path(script).name == "measure.py":
            return {"threads": 1, "environment": {}, "ceilings": {}}
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"seconds": 1.0}

    def run(pairs: int, steps: int = 2) -> None:
        options = argparse.Namespace(
            out=tmp_path / "record.json", threads=None, child=None, pairs=pairs, steps=steps
        )
        measure.benchmark(
            options,
            pair_points(pairs),
            lambda _, __: {},
            lambda _, record: {"n": len(record["rows"])},
        )

    monkeypatch.setattr(measure, "run_child", run_child)
    monkeypatch.setattr(sys, "argv", ["x.py"])
    with pytest.raises(KeyboardInterrupt):
        run(1)
    run(1)
    run(2)
    measured = [(json.loads(call)["pair"], json.loads(call)["variant"]) for call in calls]
    again = [(0, "plain"), (0, "datacondense"), (0, "datacondense"), (1, "plain"), (1, "datacondense")]
    assert measured == again
    assert json.loads((tmp_path / "record.json").read_text())["summary"] == {"n": 4}
    with pytest.raises(SystemExit, match="holds a measurement with other settings"):
        run(2, steps=3)
