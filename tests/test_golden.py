"""What a change of form must not change: the sets that methods learn, and the numbers that records give.

`python -m tests.test_golden` writes the file anew, for a change that is meant to change them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.registry import METHODS
from datacondense.data.data_source import DataSource
from datacondense.reports.records import read_noise_record, read_study_record
from datacondense.studies.catalogue import STUDIES
from datacondense.studies.config import StudyConfig
from datacondense.studies.running import declared
from datacondense.tasks.task import inputs_of
from tests.conftest import make_set

GOLDEN = Path(__file__).with_name("golden") / "golden.json"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
# Only these are read by the package; other records are plain values that a new measurement replaces.
RECORDS = sorted(path.stem for kind in ("study-*.json", "noise-*.json") for path in RESULTS.glob(kind))
NETWORKS = ("convnet-w4-d1", "convnet-w4-d2-bn", "mlp")


def digest(values: object) -> str:
    """Shorten plain values to a text that changes with any of them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def learned(method: str, network: str) -> str:
    """Learn two images per class in float64 and give their fingerprint; they are rounded to float32 in the end."""
    short: Any = {}
    if method == "idc":  # a published iteration is long, and an MLP has no convolutions
        short = {"matching_steps": 2, "train_on_real": 12, "compare": "weights"}
    settings = METHODS[method](ipc=2, network=network, real_batch=5, precision="float64", **short)
    return condense(make_set(), settings, RunConfig(seed=7, iterations=2)).fingerprint


def numbers(stem: str) -> Any:
    """Read a record as the reports do, and list its numbers."""
    values = json.loads((RESULTS / f"{stem}.json").read_text(encoding="utf-8"))
    if stem.startswith("noise-"):
        return rounded(read_noise_record(values).frame)
    result = read_study_record(values)
    return [
        [found.index.tolist(), rounded(found)] for found in (result.table, result.differences, result.claims)
    ]


def rounded(frame: pd.DataFrame) -> list[Any]:
    """List the numbers of a frame, rounded: the last digits may differ between machines."""
    return [
        [round(x, 9) if isinstance(x, float) else str(x) for x in line] for line in frame.to_numpy().tolist()
    ]


def keys(study: str) -> list[str]:
    """List the keys under which a study finds what an earlier one has recorded."""
    config = StudyConfig(iterations=3, seeds=2, repeats=2, method=GradientMatchingConfig(precision="float32"))
    return [
        key
        for task in declared(STUDIES[study], DataSource(name="digits"), config).tasks
        for key in (task.key, *(source.key for source in inputs_of(task)))
    ]


def current() -> dict[str, Any]:
    """Compute everything that is pinned."""
    return {
        "learned": {f"{m} {n}": learned(m, n) for m in METHODS for n in NETWORKS},
        "keys": {study: digest(keys(study)) for study in STUDIES},
        "records": {stem: digest(numbers(stem)) for stem in RECORDS},
    }


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_same_set_as_before(method: str, network: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert learned(method, network) == golden["learned"][f"{method} {network}"]


@pytest.mark.parametrize("stem", RECORDS)
def test_every_record_is_read_to_the_same_numbers(stem: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert digest(numbers(stem)) == golden["records"][stem]


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_finds_what_was_recorded_before(study: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert digest(keys(study)) == golden["keys"][study]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
