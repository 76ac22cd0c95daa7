"""The folder of tasks: what its files mean, and that one process works on a task at a time."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datacondense.errors import InputError
from datacondense.tasks.store import Store, store_in

WAITER = """
import sys
from pathlib import Path
from datacondense.tasks.store import Store
print("waits", flush=True)
with Store(Path(sys.argv[1])).claimed("k"):
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_files_show_the_state_of_a_task(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with store.claimed("k"):
        store.begin("k", {"cell": "Some"})
    assert (store.folder("k") / "cell.json").exists()
    assert not store.finished("k")
    store.fail("k", {"error": "it broke"})
    assert store.failure("k") == {"error": "it broke"}
    store.begin("k", {"cell": "Some"})
    assert store.failure("k") is None

    store.fail("k", {"error": "it broke"})
    store.finish("k", {"b": 2.5, "a": [1, None]})
    assert store.finished("k")
    assert store.record("k") == {"b": 2.5, "a": [1, None]}
    assert store.failure("k") is None  # it has succeeded since
    assert (tmp_path / "cells/k/record.json").read_text() == (
        '{\n  "a": [\n    1,\n    null\n  ],\n  "b": 2.5\n}\n'
    )
    store.forget("k")
    assert store.finished("k")
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


@pytest.mark.parametrize("content", ["", '{"result": ', b"\xff"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "k" / "record.json"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        InputError, match=r"k/record\.json cannot be read .*: remove its folder to have the task"
    ):
        Store(tmp_path).record("k")


def test_only_built_in_tasks_have_results_with_former_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, kind in (("old", "CondenseCell"), ("own", "mine")):
        store.finish(key, {"cell": kind, "result": {"draws": 3}})
    assert store.record("old")["result"] == {"iterations": 3}
    assert store.record("own")["result"] == {"draws": 3}
