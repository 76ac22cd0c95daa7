"""Tasks on workers that see no folder of the study's."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.tasks.scheduler import run_elsewhere, schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.workers import Workers, processes
from tests.tasks.made_tasks import INLINE, MadeTask, SumHere, SumTask


@pytest.fixture
def data(tmp_path: Path) -> DataSource:
    """Return a data set whose file is gone after it was read here."""
    file = tmp_path / "data.npz"
    np.savez(file, images=np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), labels=np.arange(4) % 2)
    found = identified(DataSource(name=str(file)), needs_test=False)
    file.unlink()
    return found


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Start a process that gets images and files as a cluster's workers do."""
    with processes(1, 1) as ready:
        yield replace(ready, share=lambda whole: whole)


def test_images_and_inputs_travel_and_files_come_back(
    data: DataSource, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = SumTask(data=data)
    second = SumTask(data=data, inputs=(first,))
    store = Store(tmp_path / "out")
    outcome = schedule([second], store, workers)
    assert outcome.failed == {}
    here = Store(tmp_path / "inline")
    schedule([second], here, INLINE)
    for task in (first, second):
        found, wanted = store.record(task.key)["result"], here.record(task.key)["result"]
        assert found["sum"] == wanted["sum"]
        assert found["process"] != os.getpid()
        assert not found["store"].startswith(str(tmp_path / "out"))
        assert store.files(task.key).keys() == here.files(task.key).keys()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name == "sum.txt"]


def test_what_reads_files_of_the_user_runs_here(data: DataSource, workers: Workers, tmp_path: Path) -> None:
    task = SumHere(data=data)
    store = Store(tmp_path / "out")
    schedule([task], store, workers)
    assert store.record(task.key)["result"]["process"] == os.getpid()


def test_a_worker_that_dies_fails_its_task_only(data: DataSource, workers: Workers, tmp_path: Path) -> None:
    dies, lives = SumTask(data=data, breaks=os.getpid()), SumTask(data=data)
    store = Store(tmp_path / "out")
    outcome = schedule([dies, lives], store, workers)
    assert outcome.computed == (lives.key,)
    assert "died" in outcome.failed[dies.key]


def test_a_failure_comes_back_in_full(workers: Workers, tmp_path: Path) -> None:
    task = MadeTask(name="a", breaks="KeyError at once")
    store = Store(tmp_path / "out")
    outcome = schedule([task], store, workers)
    assert outcome.failed == {task.key: "KeyError: 'a\\nis broken'"}
    assert "Traceback" in (store.failure(task.key) or {})["traceback"]


def test_an_interrupted_task_goes_on_in_the_folder_that_it_left(
    data: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task, workspace = MadeTask(name="a", breaks="Ctrl-C"), Workspace(Store(Path("/nowhere")))
    left = tmp_path / "cache" / "datacondense" / "tasks" / task.key
    left.mkdir(parents=True)
    (left / "switch").touch()
    with pytest.raises(KeyboardInterrupt):
        run_elsewhere(task, {}, workspace, 1)
    (left / "switch").unlink()
    assert "record.json" in run_elsewhere(task, {}, workspace, 1)
    assert not left.exists()


def test_images_on_disk_are_read_where_the_task_runs(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "data.npz"
    np.savez(file, images=np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), labels=np.arange(4) % 2)
    data = identified(DataSource(name=str(file), config=DataConfig(cache=True)), needs_test=False)
    sent: list[Any] = []

    def share(whole: Any) -> Any:
        sent.append(whole)
        return whole

    watched = replace(workers, share=share)
    task, store = SumTask(data=data), Store(tmp_path / "out")
    assert schedule([task], store, watched).failed == {}
    assert store.record(task.key)["result"]["sum"] == sum(range(256))
    assert [splits for _, splits in sent] == [None]
