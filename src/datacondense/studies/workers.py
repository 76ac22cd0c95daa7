"""Where cells run: in this process, in processes of this machine, or on the workers of a dask or ray cluster.

All of them run through joblib, which knows these engines by name.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, get_args

from datacondense.errors import InputError

Backend: TypeAlias = Literal["inline", "processes", "dask", "ray"]

BACKENDS: tuple[str, ...] = get_args(Backend)
_PACKAGES = {"dask": "distributed", "ray": "ray"}  # what speaks to a cluster
_SECONDS_TO_WAIT = 60  # for the first worker of a cluster
_LEAST_WORKERS = 2  # fewer are none to joblib
_JOBLIB = {"inline": "sequential", "processes": "loky", "dask": "dask", "ray": "ray"}


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How many cells run at once, and where.

    Attributes:
        backend: "inline" (this process), "processes" (of this machine), or "dask" or "ray" (a cluster, whose workers
            must see the data set and --out at the same paths).
        address: Of the cluster, such as tcp://host:8786 (dask) or auto (ray). Default: what DASK_SCHEDULER_ADDRESS or
            RAY_ADDRESS names, else a cluster of this machine, begun for the study and ended with it.
        jobs: Cells that run at once; each worker of a running dask cluster takes one. Default: all cores (of the
            machine or the cluster) divided by `threads`; for processes on a GPU 1.
        threads: Processor threads of each cell; tables agree to the last bit where these agree. Default: inline all
            cores, for processes the cores divided by `jobs` (1 where both are left out), on a cluster 1.
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
                f"jobs is {self.jobs}, but inline means one cell at a time in this process: give --backend processes."
            )
        if self.address is not None and self.backend not in _PACKAGES:
            raise InputError(
                f"address is {self.address!r}, but {self.backend} needs none: give --backend dask or ray, or leave it "
                "out."
            )


@dataclass(frozen=True)
class Workers:
    """Workers that are ready.

    Attributes:
        backend: What they are.
        jobs: How many cells run at once.
        threads: Processor threads of each.
    """

    backend: str
    jobs: int
    threads: int

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> None:
        """Call a function once for each tuple of arguments, and wait for all.

        Args:
            function: A function of a module; it handles its own errors.
            arguments: The tuples; all of it can be pickled.
        """
        import joblib  # noqa: PLC0415

        if self.backend != "inline" and self.jobs == 1:
            # With one job joblib would stay in this process, which must survive what a cell does to its own: two
            # workers, then, but one call at a time.
            calls, jobs = [[one] for one in arguments], _LEAST_WORKERS
        else:
            calls, jobs = [list(arguments)], self.jobs
        with joblib.parallel_config(backend=_JOBLIB[self.backend], **self._engine_options()):
            for call in calls:
                joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(
                    joblib.delayed(function)(*one) for one in call
                )

    def _engine_options(self) -> dict[str, Any]:
        """Give the options of joblib's backend that share the cores."""
        if self.backend == "processes":
            return {"inner_max_num_threads": self.threads}
        if self.backend == "ray":
            return {"ray_remote_args": {"num_cpus": self.threads}}
        return {}


@contextmanager
def opened(config: WorkersConfig, *, on_gpu: bool) -> Iterator[Workers]:
    """Make workers ready, and let them go at the end.

    Args:
        config: What the user asked for.
        on_gpu: Whether cells compute on a GPU, which they do not share well.

    Yields:
        The workers.

    Raises:
        InputError: The cluster cannot be reached, or the package that speaks to it is not installed.
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
        with connected(config, cores, threads) as room:
            yield Workers(config.backend, min(config.jobs or room, room), threads)


def _check_installed(backend: str) -> None:
    """Check that the package of an engine is there."""
    if find_spec(_PACKAGES[backend]) is None:
        raise InputError(
            f"backend is {backend!r}, but the package {_PACKAGES[backend]} is not installed: pip install "
            f"'datacondense[{backend}]'."
        )


@contextmanager
def _dask(config: WorkersConfig, cores: int, threads: int) -> Iterator[int]:
    """Connect to a scheduler, or begin a cluster here; tell how many cells it takes at once."""
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
        of_each = client.nthreads()
        if any(number > 1 for number in of_each.values()):
            # Two cells in one process would set each other's number of torch threads.
            raise InputError(
                f"A dask worker has {max(of_each.values())} threads, but must have 1: begin it with --nthreads 1."
            )
        yield len(of_each)


@contextmanager
def _ray(config: WorkersConfig, cores: int, threads: int) -> Iterator[int]:
    """Connect to a running cluster, or begin one here; tell how many cells it takes at once."""
    import ray  # noqa: PLC0415
    from ray.util.joblib import register_ray  # noqa: PLC0415

    register_ray()
    address = config.address or os.environ.get("RAY_ADDRESS")
    jobs = max(_LEAST_WORKERS, config.jobs or cores // threads)
    own: dict[str, Any] = {"num_cpus": jobs * threads, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, **({} if address else own))
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"The ray cluster {address} cannot be reached ({error}): check --address."
        ) from error
    try:
        # A worker needs its processors on one node; ray waits for ever for a worker that fits nowhere.
        room = sum(int(node["Resources"].get("CPU", 0)) // threads for node in ray.nodes() if node["Alive"])
        if room < _LEAST_WORKERS:
            raise InputError(
                f"The ray cluster has room for {room} cells of {threads} threads, but must have for "
                f"{_LEAST_WORKERS}: give fewer --threads, or --backend processes."
            )
        yield room
    finally:
        ray.shutdown()
