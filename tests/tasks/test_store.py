"""The folder of tasks: what its files mean, and that one process works on a task at a time."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from datacondense.errors import InputError
from datacondense.tasks.store import Store, key_of, store_in

WAITER = """
import sys
from pathlib import Path
from datacondense.tasks.store import Store
print("waits", flush=True)
with Store(Path(sys.argv[1])).claimed("k"):
    print("holds", flush=True)
    sys.stdin.read()
"""


DESCRIBED: dict[str, Any] = {"cell": "Some", "settings": {"n": 1}, "inputs": []}
KEY = key_of(DESCRIBED)


def recorded(**changes: Any) -> dict[str, Any]:
    """Return the record of a task."""
    return {**DESCRIBED, "result": {"b": 2.5, "a": [1, None]}, "seconds": 1.5, **changes}


def test_files_show_the_state_of_a_task(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with store.claimed(KEY):
        store.begin(KEY, DESCRIBED)
    assert (store.folder(KEY) / "cell.json").exists()
    assert not store.finished(KEY)
    store.fail(KEY, {"error": "it broke"})
    assert store.failure(KEY) == {"error": "it broke"}
    store.begin(KEY, DESCRIBED)
    assert store.failure(KEY) is None

    store.fail(KEY, {"error": "it broke"})
    store.finish(KEY, recorded())
    assert store.finished(KEY)
    assert store.record(KEY) == recorded()
    assert store.failure(KEY) is None  # it has succeeded since
    text = (tmp_path / "cells" / KEY / "record.json").read_text()
    assert text.endswith(
        '  "result": {\n    "a": [\n      1,\n      null\n    ],\n    "b": 2.5\n  },\n'
        '  "seconds": 1.5,\n  "settings": {\n    "n": 1\n  }\n}\n'
    )
    store.forget(KEY)
    assert store.finished(KEY)
    assert not store.finished("other")


def test_a_second_process_waits_and_a_killed_one_releases_its_lock(tmp_path: Path) -> None:
    store = Store(tmp_path)
    printed: list[str] = []
    with store.claimed("k"):
        waiter = subprocess.Popen(
            [sys.executable, "-c", WAITER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert waiter.stdin is not None
        assert waiter.stdout is not None
        stdout = waiter.stdout
        listener = threading.Thread(target=lambda: printed.append(stdout.readline()))
        assert stdout.readline() == "waits\n"
        listener.start()
        listener.join(0.3)
        assert printed == []
        with store.claimed("another"):
            pass
    listener.join(20)
    assert printed == ["holds\n"]

    claimed = threading.Event()

    def claim() -> None:
        with store.claimed("k"):
            claimed.set()

    threading.Thread(target=claim, daemon=True).start()
    assert not claimed.wait(0.3)
    waiter.kill()
    assert claimed.wait(20)
    waiter.communicate()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ('{"result": ', "Expecting value"),
        (b"\xff", "codec can't decode"),
        ("[" * 100_000, "recursion"),
        (b"\x00" * 300, "Expecting value"),
        ("{}", "required field `cell`"),
        (json.dumps(recorded(result=[])), r"Expected `object`, got `array` - at `\$.result`"),
        (json.dumps(recorded(seconds="long")), "Expected `float`, got `str`"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = tmp_path / KEY / "record.json"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        InputError,
        match=rf"/record\.json cannot be read as a record \(.*{reason}.*: remove its folder to have the",
    ):
        Store(tmp_path).record(KEY)


def test_a_damaged_failure_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.fail(KEY, {"reason": 5})
    with pytest.raises(InputError, match=r"cannot be read as a failure .*required field `error`"):
        store.failure(KEY)


@pytest.mark.parametrize(
    "change", [{"settings": {"n": 2}}, {"inputs": ["0" * 16]}, {"cell": "Other"}, {"version": 2}]
)
def test_the_record_of_another_task_is_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    store = Store(tmp_path)
    store.finish(KEY, recorded(**change))
    with pytest.raises(InputError, match=r"record\.json is the record of another task: remove its folder"):
        store.record(KEY)
    other = key_of({**DESCRIBED, **change})
    store.finish(other, recorded(**change))
    assert store.record(other)["result"] == recorded()["result"]


@pytest.mark.parametrize(
    "result",
    [
        {"accuracy": 7.5},
        {"accuracy": -0.1},
        {"accuracy": "high"},
        {"accuracy": float("inf")},
        {"fingerprint": 3, "accuracy": 0.5},
        {"memory": {"peak": {}}, "accuracy": 0.5},
        {"fingerprint": "a"},
    ],
)
def test_results_of_built_in_tasks_are_in_range(tmp_path: Path, result: dict[str, Any]) -> None:
    store, described = Store(tmp_path), {"cell": "EvaluateCell", "settings": {"protocol": {}}, "inputs": []}
    key = key_of(described)
    store.finish(key, {**described, "result": result, "seconds": 1.0})
    with pytest.raises(
        InputError, match=r"cannot be read as a record \(.*(Expected .* at `\$\.|required field)"
    ):
        store.record(key)
    store.finish(key, {**described, "result": {"accuracy": None}, "seconds": 1.0})
    assert store.record(key)["result"] == {"accuracy": None}
    # A task of one's own may call anything accuracy.
    store.finish(KEY, recorded(result=result))
    assert store.record(KEY)["result"] == result


def test_only_built_in_tasks_have_results_with_former_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for kind, name in (("CondenseCell", "iterations"), ("mine", "draws"), ("mine:OwnCell", "draws")):
        described = {**DESCRIBED, "cell": kind}
        store.finish(key_of(described), recorded(**{**described, "result": {"draws": 3}}))
        assert store.record(key_of(described))["result"] == {name: 3}


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    leftover = store.folder(KEY) / f".record.json.{os.getpid()}.datacondense-part"
    leftover.parent.mkdir()
    leftover.touch()
    store.begin(KEY, DESCRIBED)
    assert not leftover.exists()
