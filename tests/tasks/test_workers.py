"""Settings of workers, and how they share the cores."""

import os
import time
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from datacondense.errors import InputError
from datacondense.tasks import workers
from datacondense.tasks.workers import Gpus, WorkersConfig, opened, processes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backend": "slurm"}, "backend is 'slurm': choose one of inline, processes, dask, ray"),
        ({"jobs": 0}, "jobs is 0, but must be 1 or more"),
        ({"threads": -1}, "threads is -1, but must be 1 or more"),
        (
            {"backend": "inline", "jobs": 2},
            "jobs is 2, but inline runs one task at a time .* --backend processes",
        ),
        (
            {"address": "tcp://a:1"},
            "address is 'tcp://a:1', but processes has none: give --backend dask or ray",
        ),
        ({"backend": "inline", "address": "auto"}, "address is 'auto', but inline has none"),
    ],
)
def test_wrong_workers_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WorkersConfig(**config)


@pytest.mark.parametrize(
    ("config", "device", "jobs", "threads"),
    [
        ({}, "cpu", 8, 1),
        ({"jobs": 2}, "cpu", 2, 4),
        ({"jobs": 3}, "cpu", 3, 2),
        ({"jobs": 16}, "cpu", 16, 1),
        ({"threads": 4}, "cpu", 2, 4),
        ({"threads": 5}, "cpu", 1, 5),
        ({"threads": 16}, "cpu", 1, 16),
        ({"jobs": 2, "threads": 3}, "cpu", 2, 3),
        ({}, "cuda:1", 1, 8),
        ({"threads": 2}, "cuda:1", 1, 2),
        ({"jobs": 2}, "cuda:1", 2, 4),
        ({}, "mps", 1, 8),
        ({}, "cuda", 3, 2),
        ({"jobs": 8}, "cuda", 8, 1),
        ({"backend": "inline"}, "cpu", 1, 8),
        ({"backend": "inline", "jobs": 1, "threads": 3}, "cuda:1", 1, 3),
    ],
)
def test_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], device: str, jobs: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with opened(WorkersConfig(**config), device=device) as ready:
        assert (ready.jobs, ready.threads) == (jobs, threads)
        assert ready.gpus == (3 if device == "cuda" else 0)


@pytest.mark.parametrize("number", [0, 1])
def test_one_gpu_is_not_shared_out(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    with opened(WorkersConfig(threads=1), device="cuda") as ready:
        assert (ready.jobs, ready.gpus) == (1, 0)


def test_each_task_gets_the_gpu_with_the_fewest() -> None:
    gpus = Gpus(3)
    assert [gpus.take(key) for key in "abcde"] == [0, 1, 2, 0, 1]
    gpus.free("b")
    gpus.free("e")
    assert [gpus.take(key) for key in "fgh"] == [1, 1, 2]
    gpus.free("c")
    assert gpus.take("i") == 2
    assert Gpus(0).take("a") is None


def test_processes_end_at_once_with_ctrl_c() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), processes(1, 1) as ready:  # noqa: PT012
        sleeping = ready.submit(time.sleep, 600)
        while not sleeping.running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert sleeping.exception(60) is not None
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, backend: Any, package: str) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with (
        pytest.raises(
            InputError, match=rf"package {package} is not installed: pip install 'datacondense\[{backend}\]'"
        ),
        opened(WorkersConfig(backend=backend), device="cpu"),
    ):
        pass


def test_an_unreachable_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(
            InputError, match=r"dask scheduler tcp://127\.0\.0\.1:9 cannot be reached .*: check --address"
        ),
        opened(WorkersConfig(backend="dask", address="tcp://127.0.0.1:9"), device="cpu"),
    ):
        pass


def test_a_scheduler_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")

    class Idle(nullcontext[None]):
        def __init__(self, address: str) -> None:
            super().__init__()

        def wait_for_workers(self, number: int, timeout: float) -> None:
            raise distributed.exceptions.WorkerStartTimeoutError(0, number, timeout)

    monkeypatch.setattr(distributed, "Client", Idle)
    with (
        pytest.raises(
            InputError, match=r"dask scheduler tcp://a:1 has had no worker for 60 seconds: start one"
        ),
        opened(WorkersConfig(backend="dask", address="tcp://a:1"), device="cpu"),
    ):
        pass
