"""Readers of settings, study files and recorded tasks."""

import io
import json
import shutil
from contextlib import redirect_stdout
from dataclasses import fields
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.reports.records import read_study_record, study_record
from datacondense.studies.catalogue import find_study
from datacondense.studies.config import StudyConfig
from datacondense.studies.results import collect
from datacondense.studies.running import declared, run_study
from datacondense.studies.study import Study
from datacondense.tasks.store import store_in
from datacondense.tasks.workers import WorkersConfig
from tests.fuzz.array_readers import write_data
from tests.fuzz.oracle import Sandbox, checking
from tests.fuzz.reader import Attempt, Call, Reader
from tests.fuzz.strange import NUMBERS, TEXTS, changed_bytes, changed_json, strange, to_json

_STUDY = """title = "A"
row_axis = "r"
column_axis = "c"
plot = "heat map"
[rows.one]
network = "mlp"
image_lr = 0.1
[rows.two]
network = "convnet-w4-d1"
distance = "layerwise-cosine"
[columns.mlp]
network = "mlp"
augmentation = "none"
"""
_SHORT = StudyConfig(
    iterations=1,
    seeds=1,
    repeats=1,
    epochs=1,
    full_networks=0,
    method=GradientMatchingConfig(real_batch=2, engine="eager"),
)


def made_data(home: Path) -> DataSource:
    """Return a tiny data set in a file."""
    return identified(DataSource(name=str(write_data(home / "data.npz"))))


def made_study(home: Path, data: DataSource) -> Study:
    """Return a study of two rows and a column."""
    (home / "study.toml").write_text(_STUDY)
    return declared(find_study(str(home / "study.toml")), data, _SHORT)


def _study_files(home: Path) -> Attempt:
    data = made_data(home)

    def attempt(rng: Random, _: Sandbox) -> Call:
        text = _STUDY.replace(
            rng.choice(('"mlp"', "0.1", '"convnet-w4-d1"', '"layerwise-cosine"', "rows", "one")),
            _literal(rng),
        )
        text = _STUDY if rng.random() < 0.3 else text.replace("\ud800", "?")
        what = rng.random()
        path = Path("given.toml")
        if what < 0.03:
            text = f"rows = {'[' * 5000}{']' * 5000}\n{'[a.' * 3000}"
        elif what < 0.1:
            path.write_text(_STUDY.replace(rng.choice(('"mlp"', '"layerwise-cosine"')), '"evil:net"', 1))
            return partial(_must_refuse, path, data)
        elif what < 0.25:
            key = rng.choice((
                *GradientMatchingConfig.__dataclass_fields__,
                *EvaluationConfig.__dataclass_fields__,
            ))
            text = f"{_STUDY}{key} = {_literal(rng)}\n".replace("\ud800", "?")
        path.write_bytes(changed_bytes(rng, text.encode()) if what > 0.6 else text.encode())
        return partial(_declare, path, data)

    return attempt


def _declare(path: Path, data: DataSource) -> None:
    """Declare a study's tasks, which names all that it uses and runs nothing."""
    assert all(task.key for task in declared(find_study(str(path)), data, _SHORT).tasks)


def _must_refuse(path: Path, data: DataSource) -> None:
    """Declare a study whose file names a module."""
    _declare(path, data)
    with checking("names code"):
        raise AssertionError("a study file may name code of its own without a flag that says so")


def _literal(rng: Random) -> str:
    value = strange(rng)
    return to_json(value) if rng.random() < 0.9 else str(value)


def _recorded_tasks(home: Path) -> Attempt:
    """Make the reader of the records of a study."""
    study = made_study(home, made_data(home))
    with redirect_stdout(io.StringIO()):
        found = run_study(study, home / "out", workers=WorkersConfig(backend="inline", threads=1)).result
    scores = [task.key for tasks in study.entries.values() for task in tasks]
    accuracies = list(found.frame["accuracy"])

    def attempt(rng: Random, _: Sandbox) -> Call:
        shutil.copytree(home / "out", "out")
        folders = sorted(path.parent for path in Path("out").rglob("record.json"))
        folder = rng.choice(folders)
        path = folder / "record.json"
        swapped = rng.random() < 0.15
        if swapped:
            other = json.loads(
                (rng.choice([each for each in folders if each != folder]) / "record.json").read_text()
            )
            if folder.name in scores and "accuracy" in other["result"]:
                other["result"]["accuracy"] = 0.123
            path.write_text(json.dumps(other))
        elif rng.random() < 0.2:
            record = json.loads(path.read_text())
            if "accuracy" in record["result"]:
                record["result"]["accuracy"] = rng.choice((7.5, -0.1, 1e308, 2))
            path.write_text(json.dumps(record))
        elif rng.random() < 0.4:
            path.write_bytes(changed_bytes(rng, path.read_bytes()))
        else:
            path.write_text(to_json(changed_json(rng, json.loads(path.read_text()))), errors="surrogatepass")
        return partial(_collect, study, accuracies if swapped else None)

    return attempt


def _collect(study: Study, accuracies: list[float] | None) -> None:
    found = collect(study, store_in("out"))
    with checking("accuracy"):
        values = [value for value in found.frame["accuracy"] if value == value]  # noqa: PLR0124 — without missing ones
        assert all(isinstance(value, int | float) and 0 <= value <= 1 for value in values), (
            f"accuracies {values} outside 0..1"
        )
    with checking("another task's record"):
        assert accuracies is None or all(value in accuracies for value in values), f"accuracies {values}"
    json.dumps(study_record(found))
    str(found.table)


def _failures(home: Path) -> Attempt:
    """Make the reader of recorded failures, and of records by key."""
    valid = {
        "failure.json": {"error": "e", "traceback": "t"},
        "record.json": {"cell": "X", "result": {}, "seconds": 1.0},
    }

    def attempt(rng: Random, _: Sandbox) -> Call:
        name, value = rng.choice(list(valid.items()))
        folder = Path("out/cells/0123456789abcdef")
        folder.mkdir(parents=True)
        text = to_json(changed_json(rng, value)).encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(changed_bytes(rng, text) if rng.random() < 0.4 else text)
        store = store_in("out")
        return partial(store.failure if name == "failure.json" else store.record, folder.name)

    return attempt


def _study_records(home: Path) -> Attempt:
    study = made_study(home, made_data(home))
    values = study_record(collect(study, store_in(home / "none")))

    def attempt(rng: Random, _: Sandbox) -> Call:
        changed = json.loads(
            to_json(changed_json(rng, values))
            .replace("9" * 5000, "9" * 4000)
            .replace("[" * 5000, "[" * 50)
            .replace("]" * 5000, "]" * 50)
        )
        return partial(read_study_record, changed)

    return attempt


def _settings(_: Path) -> Attempt:
    """Make the reader of values of settings, as Python gives them."""
    kinds: tuple[Any, ...] = (GradientMatchingConfig, EvaluationConfig, StudyConfig, RunConfig, DataConfig)

    def values_of(known: Any) -> tuple[Any, ...]:
        """Return the values to try for a field; none for one that is neither a number nor a text."""
        texts = TEXTS if "str" in str(known.type) and not str(known.type).startswith("tuple") else ()
        return _VALUES.get(known.type, texts)

    fields_of = {kind: [(f.name, values_of(f)) for f in fields(kind) if values_of(f)] for kind in kinds}

    def attempt(rng: Random, __: Sandbox) -> Call:
        kind = rng.choice(kinds)
        return partial(
            kind, **{name: rng.choice(values) for name, values in rng.choices(fields_of[kind], k=2)}
        )

    return attempt


_WHOLE = tuple(number for number in NUMBERS if isinstance(number, int))
_VALUES: dict[Any, tuple[Any, ...]] = {int: _WHOLE, int | None: _WHOLE, float: NUMBERS, float | None: NUMBERS}

READERS = (
    Reader("study-file", 35, _study_files),
    Reader("recorded-task", 5, _recorded_tasks),
    Reader("failure", 35, _failures),
    Reader("study-record", 25, _study_records),
    Reader("settings-value", 28, _settings),
)
