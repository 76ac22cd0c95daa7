"""Where tasks run: in this process, in processes of joblib's, or on a dask or ray cluster."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, get_args

import torch

from datacondense.errors import InputError
from datacondense.settings import check_at_least

Backend: TypeAlias = Literal["inline", "processes", "dask", "ray"]

BACKENDS: tuple[str, ...] = get_args(Backend)
_PACKAGES = {"dask": "distributed", "ray": "ray"}  # that connect to a cluster
_SECONDS_TO_WAIT = 60  # for the first worker of a cluster
_IDLE_SECONDS = 300  # after which a process ends

Submit: TypeAlias = Callable[..., "Future[Any]"]  # of a function and its arguments


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How many tasks run at once, and where.

    Attributes:
        backend: "inline" (this process), "processes" (on this machine), or "dask" or "ray" (a cluster, whose workers
            need to see neither the data set nor --out).
        address: Address of the cluster, such as tcp://host:8786 (dask) or auto (ray). Default: DASK_SCHEDULER_ADDRESS
            or RAY_ADDRESS, or else a cluster on this machine for the duration of the study.
        jobs: Tasks that run at once; each worker of a running dask cluster takes one. Default: all cores (of the
            machine or the cluster) divided by `threads`; for processes on the device "cuda", the number of GPUs, which
            share the tasks out: more jobs fill each with several. 1 for processes on one GPU, such as "cuda:1".
        threads: CPU threads of each task; results are bit-identical only at equal numbers of threads. Default: all
            cores inline, the cores divided by `jobs` for processes (1 if neither is given), 1 on a cluster.
    """

    backend: Backend = "processes"
    address: str | None = None
    jobs: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"backend is {self.backend!r}: choose one of {', '.join(BACKENDS)}.")
        check_at_least(self, 1, "jobs", "threads")
        if self.backend == "inline" and (self.jobs or 1) > 1:
            raise InputError(
                f"jobs is {self.jobs}, but inline runs one task at a time in this process: give --backend processes."
            )
        if self.address is not None and self.backend not in _PACKAGES:
            raise InputError(
                f"address is {self.address!r}, but {self.backend} has none: give --backend dask or ray, or leave it "
                "out."
            )


@dataclass(frozen=True)
class Workers:
    """Workers that are ready.

    Attributes:
        jobs: How many tasks run at once.
        threads: CPU threads of each.
        submit: Calls a module-level function with arguments that can be pickled, on one of them.
        gpus: GPUs that share the tasks out; 0 where each task computes on the device that is named.
        share: Sends an object to the workers, once for many tasks, and returns what stands for it among the arguments
            of `submit`; None where workers see the folders of this process.
    """

    jobs: int
    threads: int
    submit: Submit
    gpus: int = 0
    share: Callable[[Any], Any] | None = None


class Gpus:
    """Which GPU of several each task gets: the one with the fewest."""

    def __init__(self, number: int) -> None:
        self._tasks: dict[str, int | None] = {}
        self._numbers = range(number)

    def take(self, key: str) -> int | None:
        """Return the number of the GPU for a task; None where there is nothing to choose."""
        tasks = list(self._tasks.values())
        self._tasks[key] = min(self._numbers, key=tasks.count, default=None)
        return self._tasks[key]

    def free(self, key: str) -> None:
        """Note that a task has ended."""
        del self._tasks[key]


@contextmanager
def opened(config: WorkersConfig, *, device: str) -> Iterator[Workers]:
    """Start workers that compute on a device, by default one for each GPU, and stop them at the end."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if config.backend == "inline":
        yield inline(config.threads or cores)
    elif config.backend == "processes":
        gpus = torch.cuda.device_count() if device == "cuda" else 0
        jobs = config.jobs or (
            max(1, cores // (config.threads or 1)) if device.startswith("cpu") else max(1, gpus)
        )
        with processes(jobs, config.threads or max(1, cores // jobs)) as ready:
            yield replace(ready, gpus=gpus if gpus > 1 else 0)
    else:
        if find_spec(_PACKAGES[config.backend]) is None:
            raise InputError(
                f"backend is {config.backend!r}, but the package {_PACKAGES[config.backend]} is not installed: pip "
                f"install 'datacondense[{config.backend}]'."
            )
        connected = _dask if config.backend == "dask" else _ray
        with connected(config, cores, config.threads or 1) as ready:
            yield ready


def inline(threads: int) -> Workers:
    """Return a worker that is this process, where Ctrl-C interrupts the task itself."""

    def submit(function: Callable[..., None], *arguments: Any) -> "Future[None]":
        future: Future[None] = Future()
        try:
            function(*arguments)
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)
        return future

    return Workers(1, threads, submit)


@contextmanager
def processes(jobs: int, threads: int) -> Iterator[Workers]:
    """Start processes on this machine; on an error or Ctrl-C they are ended at once."""
    from joblib.externals import loky  # noqa: PLC0415 — a fifth of a second

    def pool() -> Any:
        # A new one if a process of the former died; idle processes end by themselves, or serve the next study.
        # After few idle seconds (the default) it could end just as a task comes, which loky warns of.
        variables = {"OMP_NUM_THREADS": str(threads)}
        return loky.get_reusable_executor(max_workers=jobs, timeout=_IDLE_SECONDS, env=variables)

    try:
        yield Workers(jobs, threads, lambda *call: pool().submit(*call))
    except BaseException:
        pool().shutdown(wait=True, kill_workers=True)
        raise


@contextmanager
def _dask(config: WorkersConfig, cores: int, threads: int) -> Iterator[Workers]:
    """Connect to a scheduler, or start a cluster here."""
    import dask  # noqa: PLC0415
    from distributed import Client  # noqa: PLC0415

    address = config.address or dask.config.get("scheduler-address", None)
    own: dict[str, Any] = {
        "n_workers": config.jobs or max(1, cores // threads),
        "threads_per_worker": 1,
        "dashboard_address": None,
    }
    try:
        client = Client(address, **({} if address else own))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The dask scheduler {address} cannot be reached ({error}): check --address."
        ) from error
    with client:
        if address:
            try:
                client.wait_for_workers(1, timeout=_SECONDS_TO_WAIT)
            except TimeoutError as error:
                raise InputError(
                    f"The dask scheduler {address} has had no worker for {_SECONDS_TO_WAIT} seconds: start one."
                ) from error
        counts = client.nthreads()
        if any(number > 1 for number in counts.values()):
            # Two tasks in one process would set each other's number of torch threads.
            raise InputError(
                f"A dask worker has {max(counts.values())} threads, but must have 1: start it with --nthreads 1."
            )
        executor = client.get_executor(pure=False, retries=0)
        jobs = min(config.jobs or len(counts), len(counts))
        # Of a list, dask sends each part by itself.
        yield Workers(
            jobs, threads, executor.submit, share=lambda whole: client.scatter([whole], broadcast=True)[0]
        )


@contextmanager
def _ray(config: WorkersConfig, cores: int, threads: int) -> Iterator[Workers]:
    """Connect to a running cluster, or start one here."""
    import ray  # noqa: PLC0415

    address = config.address or os.environ.get("RAY_ADDRESS")
    jobs = config.jobs or max(1, cores // threads)
    own: dict[str, Any] = {"num_cpus": jobs * threads, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, **({} if address else own))
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"The ray cluster {address} cannot be reached ({error}): check --address."
        ) from error

    def submit(function: Callable[..., None], *arguments: Any) -> "Future[None]":
        call = ray.remote(function).options(num_cpus=threads, max_retries=0)
        future: Future[None] = call.remote(*arguments).future()
        return future

    try:
        # A worker needs its CPUs on one node; ray waits forever for a worker that fits on none.
        capacity = sum(
            int(node["Resources"].get("CPU", 0)) // threads for node in ray.nodes() if node["Alive"]
        )
        if capacity < 1:
            raise InputError(
                f"The ray cluster has no room for a task of {threads} threads: reduce --threads, or give --backend "
                "processes."
            )
        yield Workers(min(config.jobs or capacity, capacity), threads, submit, share=ray.put)
    finally:
        ray.shutdown()
