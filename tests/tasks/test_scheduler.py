"""Running tasks: once each, without barriers, whatever fails, dies, is stopped, or runs at the same time."""

import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from datacondense.errors import InputError
from datacondense.networks.torch_state import deterministic
from datacondense.tasks import scheduler
from datacondense.tasks.scheduler import StudyProgress, schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.task import description
from datacondense.tasks.workers import Workers, WorkersConfig, inline, opened, processes
from tests.tasks.made_tasks import INLINE, GpuTask, MadeTask, keys, lines, run_at_once


def make(name: str, *inputs: MadeTask, breaks: str = "", waits: float = 0.0, awaits: str = "") -> MadeTask:
    return MadeTask(name=name, inputs=inputs, breaks=breaks, waits=waits, awaits=awaits)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cells")


@pytest.fixture
def log(store: Store) -> Path:
    """What tasks noted; those that can break do."""
    store.path.mkdir()
    (store.path / "switch").touch()
    return store.path / "log"


def test_each_task_runs_once_and_never_again(store: Store, log: Path) -> None:
    first = make("a")
    tasks = [make("b", first), make("c", first), make("d", make("b", first), make("c", first))]

    outcome = schedule(tasks[:1], store, INLINE)
    assert (outcome.computed, outcome.reused) == ((first.key, tasks[0].key), ())
    outcome = schedule(tasks, store, INLINE, device="meta")
    assert set(outcome.reused) == keys([first, tasks[0]])
    assert set(outcome.computed) == keys(tasks[1:])
    assert (outcome.failed, outcome.blocked) == ({}, ())
    outcome = schedule(tasks, store, INLINE)
    assert (set(outcome.reused), outcome.computed) == (keys([first, *tasks]), ())

    assert lines(log) == [f"{name} {what}" for name in "abcd" for what in ("begin", "end")]
    record = store.record(tasks[1].key)
    assert {name: record[name] for name in ("cell", "settings", "inputs")} == description(tasks[1])
    where = {"threads": 1, "device": "meta", "process": os.getpid()}
    assert record["result"] == {**where, "deterministic": False}
    assert Workspace(store).result(tasks[1]) == record["result"]
    assert (store.folder(tasks[1].key) / "cell.json").exists()
    assert 0 <= record["seconds"] < 5
    assert record["finished"].endswith("+00:00")


def test_a_slow_task_holds_up_only_what_needs_it(store: Store, log: Path) -> None:
    chain = make("third", make("second", make("first", awaits="slow begin")))
    slow = make("slow", awaits="third end")
    with processes(2, 1) as workers:
        outcome = schedule([slow, chain, make("needs slow", slow)], store, workers)
    assert outcome.failed == {}
    assert lines(log)[-4:] == ["third end", "slow end", "needs slow begin", "needs slow end"]


def test_a_raised_version_is_computed_anew(store: Store, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule([make("a")], store, INLINE)
    monkeypatch.setattr(MadeTask, "version", 2)
    newer = make("b", make("a"))
    assert len(schedule([newer], store, INLINE).computed) == 2
    assert store.record(make("a").key)["version"] == 2
    assert Counter(lines(log))["a end"] == 2


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [("InputError", "bad is broken"), ("KeyError", r"KeyError: 'bad\nis broken'")],
)
def test_a_failure_is_recorded_stops_only_what_needs_it_and_is_tried_again(
    store: Store, log: Path, breaks: str, sentence: str
) -> None:
    bad = make("bad", breaks=breaks)
    needs = make("needs", bad)
    needs_more = make("needs more", make("fine"), needs)
    tasks = [bad, make("other"), needs_more]

    outcome = schedule(tasks, store, INLINE)
    assert outcome.failed == {bad.key: sentence}
    assert set(outcome.computed) == keys([make("other"), make("fine")])
    assert set(outcome.blocked) == keys([needs, needs_more])
    failure = store.failure(bad.key)
    assert failure is not None
    assert failure["error"] == sentence
    assert "made_tasks.py" in failure["traceback"]

    again = schedule(tasks, store, INLINE)
    assert (again.failed, again.blocked, again.computed) == (outcome.failed, outcome.blocked, ())
    log.with_name("switch").unlink()
    mended = schedule(tasks, store, INLINE)
    assert set(mended.computed) == keys([bad, needs, needs_more])
    assert (mended.failed, mended.blocked) == ({}, ())
    assert Counter(lines(log))["bad begin"] == 3
    assert store.failure(bad.key) is None


def test_tasks_in_other_processes_are_as_deterministic_as_the_caller(store: Store, log: Path) -> None:
    with processes(1, 1) as workers:
        schedule([make("a")], store, workers)
        with deterministic():
            schedule([make("b")], store, workers)
        schedule([make("c")], store, workers)
    found = [store.record(make(name).key)["result"] for name in "abc"]
    assert [result["deterministic"] for result in found] == [False, True, False]
    assert all(result["process"] != os.getpid() for result in found)


def test_gpus_share_the_tasks_out(store: Store, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = list[object]()
    waiting = list[tuple[Future[None], Callable[[], None]]]()

    def computing_on(gpu: object) -> AbstractContextManager[None]:
        used.append(gpu)
        return nullcontext()

    def submit(function: Callable[..., None], *arguments: object) -> "Future[None]":
        future = Future[None]()
        waiting.append((future, partial(function, *arguments)))
        if len(waiting) == 3:
            while waiting:
                ended, call = waiting.pop()
                ended.set_result(call())
        return future

    monkeypatch.setattr(torch.cuda, "device", computing_on)
    tasks = [make(name) for name in "abcdef"]
    assert schedule(tasks, store, Workers(3, 1, submit, gpus=2), device="cuda").failed == {}
    assert Counter(used) == {0: 4, 1: 2}
    assert [store.record(task.key)["gpu"] for task in tasks] == [0, 1, 0, 0, 1, 0]
    assert store.record(tasks[0].key)["result"]["device"] == "cuda"

    used.clear()
    assert schedule([make("g")], store, INLINE, device="cuda:1").failed == {}
    assert used == [torch.device("cuda:1")]
    assert "gpu" not in store.record(make("g").key)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_two_tasks_share_the_gpus(store: Store, log: Path) -> None:
    tasks = [GpuTask(name="a", awaits="b begin"), GpuTask(name="b", awaits="a begin")]
    with opened(WorkersConfig(jobs=2, threads=1), device="cuda") as workers:
        assert schedule(tasks, store, workers, device="cuda").failed == {}
    number = torch.cuda.device_count()
    devices = [store.record(task.key)["result"]["device"] for task in tasks]
    assert devices == ["cuda:0", "cuda:1" if number > 1 else "cuda:0"]


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_task_that_kills_its_process_fails_alone(store: Store, log: Path, jobs: int) -> None:
    deadly = make("deadly", breaks="death", waits=0.1)
    others = [make(name, waits=0.05) for name in "abcd"]
    late = make("late", *others)
    with processes(jobs, 1) as workers:
        outcome = schedule([*others[:2], deadly, make("blocked", deadly), late], store, workers)

    assert outcome.failed == {
        deadly.key: "The process that ran it died, perhaps out of memory: reduce --jobs."
    }
    assert set(outcome.computed) == keys([*others, late])
    assert set(outcome.blocked) == keys([make("blocked", deadly)])
    assert all(store.record(key)["result"]["process"] != os.getpid() for key in outcome.computed)
    if jobs == 1:  # one task at a time
        alone = [f"{name} {what}" for name in [*"abcd", "late"] for what in ("begin", "end")]
        assert lines(log) == [*alone[:4], *["deadly begin"] * 2, *alone[4:]]
    noted = Counter(lines(log))
    # What was at work beside it is ended too and run again, perhaps between its last line and its record.
    assert all(1 <= noted[f"{task.name} end"] <= jobs for task in others)
    assert (noted["late end"], noted["deadly begin"], noted["deadly end"]) == (1, 2, 0)


def test_ctrl_c_leaves_what_can_be_continued(store: Store, log: Path) -> None:
    tasks = [make("a"), make("b", make("stopped", breaks="Ctrl-C"))]
    with pytest.raises(KeyboardInterrupt):
        schedule(tasks, store, INLINE)
    assert store.failure(tasks[1].inputs[0].key) is None
    log.with_name("switch").unlink()
    outcome = schedule(tasks, store, INLINE)
    assert outcome.reused == (tasks[0].key,)
    assert set(outcome.computed) == keys([tasks[1], *tasks[1].inputs])


@pytest.mark.usefixtures("log")
def test_threads_are_restored_and_warnings_become_notes(store: Store) -> None:
    before = torch.get_num_threads()
    task = MadeTask(name="a", warning="slow here")
    schedule([task, make("b"), make("bad", breaks="KeyError")], store, inline(before + 2))
    record = store.record(task.key)
    assert record["result"]["threads"] == record["threads"] == before + 2
    assert torch.get_num_threads() == before
    assert (record["notes"], store.record(make("b").key)["notes"]) == (["slow here"], [])


@pytest.mark.usefixtures("log")
def test_progress_ends_with_everything_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_PROGRESS_SECONDS", 0.01)
    bad = make("bad", breaks="KeyError", waits=0.1)
    known = make("known")
    schedule([known], store, INLINE)
    store.finish(known.key, {**store.record(known.key), "seconds": 10.0})
    seen: list[StudyProgress] = []

    schedule([bad, make("blocked", bad), known, make("last", waits=0.1)], store, INLINE, observer=seen.append)

    first, last = next(progress for progress in seen if progress.running), seen[-1]
    assert (first.total, first.done, first.failed, first.running) == (3, 0, 0, 1)
    assert first.seconds_left == 30.0  # three tasks with the label of one that took 10 s
    assert (last.total, last.done, last.failed, last.running, last.seconds_left) == (3, 1, 2, 0, 0.0)
    assert last.seconds >= 0.2
    assert all(a.done <= b.done and a.failed <= b.failed for a, b in pairwise(seen))
    assert any(progress.failed > 0 and progress.running == 1 for progress in seen)


def test_time_left_is_shared_by_jobs_and_unknown_at_first(store: Store) -> None:
    kinds = ("slow", "fast", "slow", "new")
    tasks = [MadeTask(name=f"{number}", kind=kind) for number, kind in enumerate(kinds)]
    run = scheduler._Run(tasks, store, Workers(2, 1, INLINE.submit), Workspace(store))
    run._seconds["slow"] = []  # as Ctrl-C may leave it
    assert run.progress().seconds_left is None
    for task, seconds in zip(tasks, (30.0, 10.0), strict=False):
        store.finish(task.key, {**description(task), "result": {}, "seconds": seconds})
        ended: Future[None] = Future()
        ended.set_result(None)
        run._ended(task.key, ended)
    progress = run.progress()
    assert progress.done == 2
    assert progress.seconds_left == (30 + 20) / 2  # a label that was never seen takes the mean of the others


def test_what_only_finished_tasks_need_is_not_run_again(store: Store, log: Path) -> None:
    source = make("source")
    schedule([make("a", source)], store, INLINE)
    shutil.rmtree(store.folder(source.key))  # such as large files, removed to save space
    outcome = schedule([make("a", source)], store, INLINE)
    assert (outcome.computed, outcome.reused) == ((), (make("a", source).key,))
    schedule([make("a", source), make("b", source)], store, INLINE)
    assert Counter(lines(log))["source begin"] == 2


def test_two_runs_at_once_share_the_work(store: Store, log: Path) -> None:
    tasks = [make("b", make("a", waits=0.1)), *(make(f"{n}", waits=0.05) for n in range(6))]
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
    assert Counter(lines(log)) == {f"{name} {what}": 1 for name in "ab012345" for what in ("begin", "end")}


def test_a_folder_that_cannot_be_written_ends_the_run(store: Store) -> None:
    store.path.touch()
    with pytest.raises(
        InputError,
        match=rf"{store.folder(make('a').key)} cannot be written \(.*\): choose a folder that you may write to",
    ):
        schedule([make("a")], store, INLINE)


def test_a_result_that_is_not_plain_json_fails_with_its_own_sentence(store: Store, log: Path) -> None:
    broken = make("a", breaks="tensor")
    assert "Tensor" in schedule([broken], store, INLINE).failed[broken.key]
    assert lines(log) == ["a begin", "a end"]  # it is not tried again, as after a death
