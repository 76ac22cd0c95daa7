"""Where tasks run: in this process, in other processes, or on a dask or ray cluster, all through joblib."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, get_args

from datacondense.errors import InputError

Backend: TypeAlias = Literal["inline", "processes", "dask", "ray"]

BACKENDS: tuple[str, ...] = get_args(Backend)
_PACKAGES = {"dask": "distributed", "ray": "ray"}  # that connect to a cluster
_SECONDS_TO_WAIT = 60  # for the first worker of a cluster
_MIN_WORKERS = 2  # with one, joblib stays in this process
_JOBLIB = {"inline": "sequential", "processes": "loky", "dask": "dask", "ray": "ray"}


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How many tasks run at once, and where.

    Attributes:
        backend: "inline" (this process), "processes" (on this machine), or "dask" or "ray" (a cluster whose workers see
            the data set and --out at the same paths).
        address: Address of the cluster, such as tcp://host:8786 (dask) or auto (ray). Default: DASK_SCHEDULER_ADDRESS
            or RAY_ADDRESS, or else a cluster on this machine for the duration of the study.
        jobs: Tasks that run at once; each worker of a running dask cluster takes one. Default: all cores (of the
            machine or the cluster) divided by `threads`; 1 for processes on a GPU.
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
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, but must be 1 or more.")
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
        backend: As in `WorkersConfig`.
        jobs: How many tasks run at once.
        threads: CPU threads of each.
    """

    backend: str
    jobs: int
    threads: int

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> None:
        """Call a function once for each tuple of arguments, and wait for all calls.

        Args:
            function: A module-level function that handles its own errors.
            arguments: The tuples; they can be pickled.
        """
        import joblib  # noqa: PLC0415

        if self.backend != "inline" and self.jobs == 1:
            # With one job joblib would stay in this process, which must survive a task that kills its own: so two
            # workers, but one call at a time.
            calls, jobs = [[values] for values in arguments], _MIN_WORKERS
        else:
            calls, jobs = [list(arguments)], self.jobs
        with joblib.parallel_config(backend=_JOBLIB[self.backend], **self._engine_options()):
            for call in calls:
                joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(
                    joblib.delayed(function)(*values) for values in call
                )

    def _engine_options(self) -> dict[str, Any]:
        """Return the options of joblib's backend that limit threads."""
        if self.backend == "processes":
            return {"inner_max_num_threads": self.threads}
        if self.backend == "ray":
            return {"ray_remote_args": {"num_cpus": self.threads}}
        return {}


@contextmanager
def opened(config: WorkersConfig, *, on_gpu: bool) -> Iterator[Workers]:
    """Start workers, and stop them at the end.

    Args:
        config: Which workers.
        on_gpu: Whether tasks compute on a GPU, which they do not share well.

    Yields:
        The workers.

    Raises:
        InputError: The cluster cannot be reached, or its package is not installed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if config.backend == "inline":
        yield Workers("inline", 1, config.threads or cores)
    elif config.backend == "processes":
        jobs = config.jobs or (1 if on_gpu else max(1, cores // (config.threads or 1)))
        yield Workers("processes", jobs, config.threads or max(1, cores // jobs))
    else:
        _check_installed(config.backend)
        threads = config.threads or 1
        connected = _dask if config.backend == "dask" else _ray
        with connected(config, cores, threads) as capacity:
            yield Workers(config.backend, min(config.jobs or capacity, capacity), threads)


def _check_installed(backend: str) -> None:
    """Check that the package of a backend is installed."""
    if find_spec(_PACKAGES[backend]) is None:
        raise InputError(
            f"backend is {backend!r}, but the package {_PACKAGES[backend]} is not installed: pip install "
            f"'datacondense[{backend}]'."
        )


@contextmanager
def _dask(config: WorkersConfig, cores: int, threads: int) -> Iterator[int]:
    """Connect to a scheduler, or start a cluster here; yield how many tasks it runs at once."""
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
            client.wait_for_workers(1, timeout=_SECONDS_TO_WAIT)
        counts = client.nthreads()
        if any(number > 1 for number in counts.values()):
            # Two tasks in one process would set each other's number of torch threads.
            raise InputError(
                f"A dask worker has {max(counts.values())} threads, but must have 1: start it with --nthreads 1."
            )
        yield len(counts)


@contextmanager
def _ray(config: WorkersConfig, cores: int, threads: int) -> Iterator[int]:
    """Connect to a running cluster, or start one here; yield how many tasks it runs at once."""
    import ray  # noqa: PLC0415
    from ray.util.joblib import register_ray  # noqa: PLC0415

    register_ray()
    address = config.address or os.environ.get("RAY_ADDRESS")
    jobs = max(_MIN_WORKERS, config.jobs or cores // threads)
    own: dict[str, Any] = {"num_cpus": jobs * threads, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, **({} if address else own))
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"The ray cluster {address} cannot be reached ({error}): check --address."
        ) from error
    try:
        # A worker needs its CPUs on one node; ray waits forever for a worker that fits on none.
        capacity = sum(
            int(node["Resources"].get("CPU", 0)) // threads for node in ray.nodes() if node["Alive"]
        )
        if capacity < _MIN_WORKERS:
            raise InputError(
                f"The ray cluster has room for {capacity} tasks of {threads} threads, but needs room for "
                f"{_MIN_WORKERS}: reduce --threads, or give --backend processes."
            )
        yield capacity
    finally:
        ray.shutdown()
