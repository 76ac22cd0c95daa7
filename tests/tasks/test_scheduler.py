"""Running tasks: once each, whatever fails, dies, is stopped, or runs at the same time."""

import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from datacondense.errors import InputError
from datacondense.studies import runner
from datacondense.studies.runner import StudyProgress, run_tasks
from datacondense.studies.store import Store
from datacondense.studies.task import description, task_key
from datacondense.studies.workers import Workers
from tests.studies.made_tasks import INLINE, MadeTask, keys, lines, run_at_once

Make = Callable[..., MadeTask]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that returns tasks with a common log and switch."""

    def made(name: str, *inputs: MadeTask, **how: object) -> MadeTask:
        return MadeTask(name=name, log=tmp_path / "log", inputs=inputs, switch=tmp_path / "switch", **how)  # type: ignore[arg-type]

    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cells")


def test_each_task_runs_once_and_never_again(make: Make, store: Store, tmp_path: Path) -> None:
    first = make("a")
    tasks = [make("b", first), make("c", first), make("d", make("b", first), make("c", first))]

    outcome = run_tasks(tasks[:1], store, INLINE)
    assert set(outcome.computed) == keys([first, tasks[0]])
    assert outcome.reused == ()
    outcome = run_tasks(tasks, store, INLINE, device="meta")
    assert set(outcome.reused) == keys([first, tasks[0]])
    assert set(outcome.computed) == keys(tasks[1:])
    assert (outcome.failed, outcome.blocked) == ({}, ())
    outcome = run_tasks(tasks, store, INLINE)
    assert set(outcome.reused) == keys([first, *tasks])
    assert outcome.computed == ()

    assert lines(tmp_path / "log") == [f"{name} {what}" for name in "abcd" for what in ("begin", "end")]
    record = store.record(task_key(tasks[1]))
    assert {name: record[name] for name in ("cell", "settings", "inputs")} == description(tasks[1])
    assert record["result"] == {"threads": 1, "device": "meta", "process": os.getpid()}
    assert (store.folder(task_key(tasks[1])) / "cell.json").exists()
    assert 0 <= record["seconds"] < 5
    assert record["finished"].endswith("+00:00")


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [("InputError", "bad is broken"), ("KeyError", r"KeyError: 'bad\nis broken'")],
)
def test_a_failure_is_recorded_stops_only_what_needs_it_and_is_tried_again(
    make: Make, store: Store, tmp_path: Path, breaks: str, sentence: str
) -> None:
    (tmp_path / "switch").touch()
    bad = make("bad", breaks=breaks)
    needs = make("needs", bad)
    needs_more = make("needs more", make("fine"), needs)
    tasks = [bad, make("other"), needs_more]

    outcome = run_tasks(tasks, store, INLINE)
    assert outcome.failed == {task_key(bad): sentence}
    assert set(outcome.computed) == keys([make("other"), make("fine")])
    assert set(outcome.blocked) == keys([needs, needs_more])
    failure = store.failure(task_key(bad))
    assert failure is not None
    assert failure["error"] == sentence
    assert "made_tasks.py" in failure["traceback"]

    again = run_tasks(tasks, store, INLINE)
    assert (again.failed, again.blocked, again.computed) == (outcome.failed, outcome.blocked, ())
    (tmp_path / "switch").unlink()
    mended = run_tasks(tasks, store, INLINE)
    assert set(mended.computed) == keys([bad, needs, needs_more])
    assert (mended.failed, mended.blocked) == ({}, ())
    assert Counter(lines(tmp_path / "log"))["bad begin"] == 3
    assert store.failure(task_key(bad)) is None


def test_a_task_that_kills_its_process_fails_alone(make: Make, store: Store, tmp_path: Path) -> None:
    (tmp_path / "switch").touch()
    deadly = make("deadly", breaks="kill", waits=0.1)
    others = [make(f"{number}", waits=0.05) for number in range(5)]
    late = make("late", *others)
    tasks = [*others[:2], deadly, *others[2:], make("blocked", deadly), late]

    outcome = run_tasks(tasks, store, Workers("processes", 2, 1))

    assert outcome.failed == {
        task_key(deadly): "The process that ran it died, perhaps out of memory: reduce --jobs."
    }
    assert set(outcome.computed) == keys([*others, late])
    assert set(outcome.blocked) == keys([make("blocked", deadly)])
    noted = Counter(lines(tmp_path / "log"))
    # Those at work beside it are ended too and run again, perhaps between their last line and their record.
    assert all(1 <= noted[f"{task.name} end"] <= 2 for task in others)
    assert noted["late end"] == 1
    assert noted["deadly begin"] <= 3
    assert noted["deadly end"] == 0


def test_one_job_is_one_task_at_a_time_in_another_process(make: Make, store: Store, tmp_path: Path) -> None:
    tasks = [make(f"{number}", waits=0.4) for number in range(4)]
    run_tasks(tasks, store, Workers("processes", 1, 1))
    assert [line.split()[1] for line in lines(tmp_path / "log")] == ["begin", "end"] * 4
    assert all(store.record(key)["result"]["process"] != os.getpid() for key in keys(tasks))


def test_warnings_become_notes_each_once(make: Make, store: Store) -> None:
    task = make("a", warning="slow here")
    run_tasks([task, make("b")], store, INLINE)
    assert store.record(task_key(task))["notes"] == ["slow here"]
    assert store.record(task_key(make("b")))["notes"] == []


def test_threads_are_set_inside_and_restored_outside(make: Make, store: Store, tmp_path: Path) -> None:
    (tmp_path / "switch").touch()
    before = torch.get_num_threads()
    tasks = [make("a"), make("bad", breaks="KeyError")]
    run_tasks(tasks, store, Workers("inline", 1, before + 2))
    record = store.record(task_key(tasks[0]))
    assert record["result"]["threads"] == record["threads"] == before + 2
    assert torch.get_num_threads() == before


def test_progress_ends_with_everything_counted(
    make: Make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PROGRESS_SECONDS", 0.01)
    (tmp_path / "switch").touch()
    bad = make("bad", breaks="KeyError", waits=0.1)
    known = make("known")
    run_tasks([known], store, INLINE)
    store.finish(task_key(known), {**store.record(task_key(known)), "seconds": 10.0})
    seen: list[StudyProgress] = []

    run_tasks(
        [bad, make("blocked", bad), known, make("last", waits=0.1)], store, INLINE, observer=seen.append
    )

    first, last = seen[0], seen[-1]
    assert (first.total, first.done, first.failed, first.running) == (3, 0, 0, 1)
    assert first.seconds_left == 30.0  # three tasks of a kind whose only record took 10 s
    assert (last.total, last.done, last.failed, last.running, last.seconds_left) == (3, 1, 2, 0, 0.0)
    assert last.seconds >= 0.2
    assert all(a.done <= b.done and a.failed <= b.failed for a, b in pairwise(seen))
    assert any(progress.failed > 0 and progress.running == 1 for progress in seen)


def test_what_only_finished_tasks_need_is_not_run_again(make: Make, store: Store, tmp_path: Path) -> None:
    source = make("source")
    run_tasks([make("a", source)], store, INLINE)
    shutil.rmtree(store.folder(task_key(source)))  # such as large files, removed to save space
    outcome = run_tasks([make("a", source)], store, INLINE)
    assert (outcome.computed, outcome.reused) == ((), (task_key(make("a", source)),))
    run_tasks([make("a", source), make("b", source)], store, INLINE)
    assert Counter(lines(tmp_path / "log"))["source begin"] == 2


def test_time_left_is_shared_by_jobs_and_unknown_at_first(make: Make, store: Store) -> None:
    tasks = [make("slow", kind="slow"), make("fast", kind="fast"), make("slow 2", kind="slow")]
    tasks += [make("new", kind="new")]
    wanted = {task_key(task): task for task in tasks}
    workers = Workers("processes", 2, 1)
    run = runner._Run(store, workers, runner.StoreWorkspace(store, "cpu"), wanted)
    clock = runner._Clock(run, store, workers.jobs, {})
    assert clock.progress().seconds_left is None
    for task, seconds in zip(tasks, (30.0, 10.0), strict=False):
        store.finish(task_key(task), {"seconds": seconds})
    progress = clock.progress()
    assert (progress.done, progress.running) == (2, 2)
    assert progress.seconds_left == (30 + 20) / 2  # a kind that was never seen takes the mean of the others


def test_two_runs_at_once_share_the_work(make: Make, store: Store, tmp_path: Path) -> None:
    tasks = [
        make("a", waits=0.1),
        make("b", make("a", waits=0.1)),
        *(make(f"{n}", waits=0.05) for n in range(6)),
    ]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [
        context.Process(target=run_at_once, args=(barrier, order, store.path))
        for order in (tasks, tasks[::-1])
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert all(store.finished(key) for key in keys(tasks))
    assert Counter(lines(tmp_path / "log")) == {
        f"{task.name} {what}": 1 for task in tasks for what in ("begin", "end")
    }


def test_a_folder_that_cannot_be_written_ends_the_run(make: Make, store: Store) -> None:
    store.path.touch()
    with pytest.raises(InputError, match="cannot be written"):
        run_tasks([make("a")], store, INLINE)


def test_a_result_that_is_not_plain_json_fails_with_its_own_sentence(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MadeTask, "run", lambda self, workspace: {"accuracy": torch.tensor(0.5)})
    outcome = run_tasks([make("a")], store, INLINE)
    assert "Tensor" in outcome.failed[task_key(make("a"))]
