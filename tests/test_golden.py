"""What a change of form must not change: the sets that methods learn, and the numbers that records give.

`python -m tests.test_golden` writes the file anew, for a change that is meant to change them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.registry import METHODS
from datacondense.reports.noise_records import noise_record, read_noise_record
from datacondense.reports.study_records import read_study_record
from datacondense.studies.catalogue import STUDIES
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.running import declared
from datacondense.studies.task import task_key
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
    settings = METHODS[method](ipc=2, network=network, real_batch=5, precision="float64")
    return condense(make_set(), settings, RunConfig(seed=7, iterations=2)).fingerprint


def numbers(stem: str) -> Any:
    """Read a record as the reports do, and list its numbers."""
    values = json.loads((RESULTS / f"{stem}.json").read_text(encoding="utf-8"))
    if stem.startswith("study-"):
        result = read_study_record(values)
        entries = {
            "/".join(place): [
                sorted([*pair, accuracy] for pair, accuracy in entry.accuracies.items()),
                [entry.missing, entry.sets, entry.mean, entry.std, *entry.interval],
                [entry.image_lrs, entry.condensing_seconds, entry.shared_seconds, entry.memory],
            ]
            for place, entry in result.known.items()
        }
        differences = {"/".join(place): list(found) for place, found in result.differences.items()}
        claims = [[found.difference, list(found.interval), found.verdict] for found in result.claims]
        return [entries, differences, claims]
    return noise_record(read_noise_record(values))


def keys(study: str) -> list[str]:
    """List the keys under which a study finds what an earlier one has recorded."""
    config = StudyConfig(iterations=3, seeds=2, repeats=2, method=GradientMatchingConfig(precision="float32"))
    return [
        key
        for task in declared(STUDIES[study], DataSource(name="digits"), config).tasks
        for key in (task_key(task), *map(task_key, task.inputs))
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
