"""Architecture search: small sets as proxies for the training set, judged by how they rank architectures.

Every architecture is trained on each proxy, and on the full training set for reference, by trials of Optuna studies.
Held-out training images rank them; accuracy on the test images is reported beside, and nothing is chosen by it.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

from datacondense.applications.search_config import SearchConfig, declared_scorers
from datacondense.applications.search_result import SearchResult
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.settings import check_number
from datacondense.studies.running import Run
from datacondense.tasks.scheduler import Observer, schedule
from datacondense.tasks.store import Workspace, store_in
from datacondense.tasks.workers import WorkersConfig, opened


def run_search(
    data: DataSource,
    config: SearchConfig,
    out: Path | str,
    *,
    storage: str | None = None,
    heartbeat: int = 10,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Run[SearchResult]:
    """Train every architecture on each proxy and for reference, and collect the numbers.

    A search that was stopped or killed continues where it was. Several processes, on one machine or on many, share the
    trials of one storage.

    Args:
        data: The data set, with test images.
        config: Which architectures, and how they are trained.
        out: Output folder; sets and networks are recorded in it, and studies may share it.
        storage: URL of the database that holds the trials; None means the SQLite file OUT/search.db.
        heartbeat: Seconds between two signs of life of a worker; after three without one it counts as dead.
        workers: How many networks train at once, and where; None means as many processes as cores.
        device: The device that each network trains on.
        observer: Called regularly with the progress.

    Returns:
        The numbers, and what was done.

    Raises:
        InputError: Optuna is not installed, the storage cannot be used, or the data set, a network or a setting does
            not fit.
    """
    check_number("heartbeat", heartbeat, 1)
    if find_spec("optuna") is None:
        raise InputError(
            "The package optuna, which searches, is not installed: pip install 'datacondense[search]'."
        )
    # Here, since Optuna is an extra and takes a second to load.
    from datacondense.applications.search_trials import Search, Trials, collected, open_storage  # noqa: PLC0415

    scorers, store = declared_scorers(data, config), store_in(out)
    store.path.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{store.path.parent / 'search.db'}"
    with open_storage(url, heartbeat) as database, opened(workers or WorkersConfig(), device=device) as ready:
        sets = [scorer.source for scorer in scorers if scorer.source is not None]
        made = schedule(sets, store, ready, device=device, observer=observer)
        for error in made.failed.values():
            raise InputError(error)
        searches = [Search(storage=database, scorer=scorer, config=config) for scorer in scorers]
        workspace = Workspace(store, device, torch.are_deterministic_algorithms_enabled())
        outcome = Trials(searches, ready, workspace, observer).run()
        return Run(collected(searches, store), outcome)
