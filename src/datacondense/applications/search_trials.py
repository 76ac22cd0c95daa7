"""The trials of a search: workers that claim and run them, and what came out."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import count
from math import inf, isfinite, nan
from statistics import fmean
from typing import Any

import pandas as pd
from optuna import Trial, TrialPruned
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from datacondense.applications.architecture_score import Scorer
from datacondense.applications.search_config import SearchConfig
from datacondense.applications.search_result import COLUMNS, NUMBERS, REFERENCE, SearchResult
from datacondense.applications.search_space import Settings, suggested
from datacondense.applications.trials import ERROR, Storage, TrialQueue
from datacondense.errors import InputError
from datacondense.settings import plain_settings
from datacondense.tasks.scheduler import Observer, Outcome, StudyProgress, run_task
from datacondense.tasks.store import Store, Workspace, key_of
from datacondense.tasks.task import graph_of
from datacondense.tasks.workers import Gpus, Workers

_POLL_SECONDS, _FILL_SECONDS = 1.0, 10.0
_OVER = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The study of one proxy, or of the reference.

    Attributes:
        storage: The database that holds the study.
        scorer: How architectures are scored.
        config: The settings of the search.
    """

    storage: Storage
    scorer: Scorer
    config: SearchConfig

    @cached_property
    def name(self) -> str:
        """Name of the study: the proxy, and a hash of all that its numbers and its sampler depend on."""
        config = self.config
        first, *_ = self.scorer.tasks(next(iter(config.space.architectures)))
        settings = {
            "task": first.key,
            "repeats": self.scorer.repeats,
            "space": plain_settings(config.space),
            "sampler": config.sampler,
            "pruner": config.pruner,
            "seed": config.seed,
        }
        return f"{self.scorer.name} {key_of(settings)}"

    @property
    def queue(self) -> TrialQueue:
        """The trials, over one connection for each process."""
        config = self.config
        return _queue(self.storage, self.name, sampler=config.sampler, pruner=config.pruner, seed=config.seed)


@lru_cache(maxsize=64)
def _queue(storage: Storage, name: str, **settings: Any) -> TrialQueue:
    return TrialQueue(opened(storage), name, **settings)


@lru_cache(maxsize=4)
def opened(storage: Storage) -> RDBStorage:
    """Return a storage, connected to once for each process."""
    return storage.open()


@contextmanager
def open_storage(url: str, heartbeat: int) -> Iterator[Storage]:
    """Open a storage in this process, and close it at the end."""
    storage = Storage(url, heartbeat)
    database = opened(storage)
    try:
        yield storage
    finally:
        for cached in (_queue, opened):
            cached.cache_clear()
        database.remove_session()
        database.engine.dispose()


class Trials:
    """Runs the trials of several studies: first those of all proxies, then those of the reference."""

    def __init__(
        self,
        searches: Sequence[Search],
        workers: Workers,
        workspace: Workspace,
        observer: Observer | None,
    ) -> None:
        self._searches, self._workers, self._workspace = searches, workers, workspace
        self._observer, self._began = observer, time.monotonic()
        self._running: dict[Future[bool], str] = {}
        self._gpus, self._numbers = Gpus(workers.gpus), count()

    def run(self) -> Outcome:
        """Run every trial that can run."""
        with self._searches[0].storage.in_use():
            before = {key for search in self._searches for key in _finished(search)}
            proxies = [each for each in self._searches if each.scorer.name != REFERENCE]
            self._run(proxies)
            self._run([each for each in self._searches if each.scorer.name == REFERENCE])
            finished = [key for search in self._searches for key in _finished(search)]
            failed = {key: error for search in self._searches for key, error in _failures(search).items()}
        computed = tuple(key for key in finished if key not in before)
        return Outcome(reused=tuple(sorted(before)), computed=computed, failed=failed, blocked=())

    def _run(self, searches: Sequence[Search]) -> None:
        """Run trials of studies until none is left, here or on other machines."""
        self._fill(searches, again=True)
        filled = time.monotonic()
        while True:
            waiting = [each for each in searches for _ in each.queue.trials(TrialState.WAITING)]
            if not (
                waiting or self._running or any(each.queue.trials(TrialState.RUNNING) for each in searches)
            ):
                return
            for search in waiting[: self._workers.jobs - len(self._running)]:
                self._submit(search)
            self._wait()
            if not waiting or time.monotonic() - filled > _FILL_SECONDS:
                self._fill(searches, again=False)
                filled = time.monotonic()
            if self._observer is not None:
                self._observer(self._progress())

    def _fill(self, searches: Sequence[Search], *, again: bool) -> None:
        """Put into the queues what is missing there."""
        storage = self._searches[0].storage
        with storage.alone(opened(storage)):
            for search in searches:
                search.queue.fill(self._wanted(search), again=again)

    def _wanted(self, search: Search) -> Sequence[Settings]:
        """Return the architectures of a study; empty ones where the sampler suggests them."""
        config, architectures = search.config, search.config.space.architectures
        if config.trials is None:
            return list(architectures.values())
        if search.scorer.name != REFERENCE:
            return [{}] * config.trials
        tried = {name for each in self._searches if each is not search for name in _networks(each)}
        return [settings for name, settings in architectures.items() if name in tried]

    def _submit(self, search: Search) -> None:
        name = str(next(self._numbers))
        given = (self._workspace, self._workers.threads, self._gpus.take(name))
        self._running[self._workers.submit(run_next, search, *given)] = name

    def _wait(self) -> None:
        """Wait until a trial has ended, or a moment."""
        if not self._running:
            time.sleep(_POLL_SECONDS)
        for future in wait(self._running, _POLL_SECONDS, FIRST_COMPLETED).done:
            self._gpus.free(self._running.pop(future))
            error = future.exception()
            # The trial of a process that died is given up when no sign of life comes any more.
            if error is not None and not isinstance(error, BrokenExecutor):
                raise error

    def _progress(self) -> StudyProgress:
        """Return the progress of all studies, from the states of their trials."""
        trials = [each.queue.trials() for each in self._searches]
        states = Counter(trial.state.name for listed in trials for trial in listed)
        left, wanted = 0.0, [self._wanted(each) for each in self._searches]
        for listed, total in zip(trials, map(len, wanted), strict=True):
            over = [each for each in listed if each.state.name in {"COMPLETE", "PRUNED"}]
            seconds = [each.duration.total_seconds() for each in over if each.duration]
            left += (total - len(over)) * fmean(seconds) if seconds else inf
        return StudyProgress(
            total=sum(map(len, wanted)),
            done=states["COMPLETE"] + states["PRUNED"],
            failed=sum(len(_failures(each)) for each in self._searches),
            running=states["RUNNING"],
            seconds=time.monotonic() - self._began,
            seconds_left=left / self._workers.jobs if isfinite(left) else None,
        )


def run_next(search: Search, workspace: Workspace, threads: int, gpu: int | None) -> bool:
    """Run the next trial of a study in this process; False if none is waiting."""
    with search.storage.in_use():
        queue = search.queue
        trial = queue.claim()
        if trial is not None:
            queue.run(trial, partial(_score, search, workspace, threads, gpu))
        return trial is not None


def _score(search: Search, workspace: Workspace, threads: int, gpu: int | None, trial: Trial) -> float:
    """Train the networks of the architecture that a trial suggests, and return their mean held-out accuracy."""
    network = suggested(trial, search.config.space)
    results: list[dict[str, Any]] = []
    trial.set_user_attr("network", network)
    for task in search.scorer.tasks(network):
        if results and trial.should_prune():
            raise TrialPruned
        run_task(task, workspace, threads, gpu)
        failure = workspace.store.failure(task.key)
        if failure is not None:
            raise InputError(failure["error"])
        results.append(workspace.result(task))
        held_out = mean_accuracy(result["held_out"] for result in results)
        trial.report(held_out, task.repeat)
    tests = [result["test"] for result in results]
    trial.set_user_attr("test", None if None in tests else fmean(tests))
    trial.set_user_attr("images", max(result["images"] for result in results))
    trial.set_user_attr("seconds", sum(result["training_seconds"] for result in results))
    trial.set_user_attr("environment", results[0]["environment"])
    return held_out


def mean_accuracy(accuracies: Iterable[float | None]) -> float:
    """Return the mean accuracy of networks; one whose training diverged has none, and counts as 0."""
    return fmean(accuracy or 0.0 for accuracy in accuracies)


def _networks(search: Search) -> list[str]:
    """Return the architectures of which a study has a number."""
    return [str(trial.user_attrs["network"]) for trial in search.queue.trials(TrialState.COMPLETE)]


def _finished(search: Search) -> list[str]:
    """Return a name for each finished trial of a study."""
    return [f"{search.name}/{trial.number}" for trial in search.queue.trials(*_OVER)]


def _failures(search: Search) -> dict[str, str]:
    """Return the errors of architectures that have no number, by the key of their first task."""
    trials = [trial for trial in search.queue.trials() if "network" in trial.user_attrs]
    over = {trial.user_attrs["network"] for trial in trials if trial.state != TrialState.FAIL}
    errors = {
        trial.user_attrs["network"]: trial.user_attrs.get(ERROR, "The process that ran it died.")
        for trial in trials
        if trial.user_attrs["network"] not in over
    }
    return {search.scorer.tasks(network)[0].key: error for network, error in errors.items()}


def collected(searches: Sequence[Search], store: Store) -> SearchResult:
    """Return the numbers of all studies."""
    space = searches[0].config.space.architectures
    lines, environments = [], {}
    for search in searches:
        trials = {trial.user_attrs["network"]: trial for trial in reversed(search.queue.trials(*_OVER))}
        for network in (each for each in space if each in trials):
            trial = trials[network]
            attributes, is_complete = trial.user_attrs, trial.state == TrialState.COMPLETE
            lines.append({
                "proxy": search.scorer.name,
                "network": network,
                **space[network],
                "held_out": trial.value if is_complete else nan,
                **{name: attributes.get(name) for name in ("test", "images", "seconds")},
            })
            if environment := attributes.get("environment"):
                environments[repr(sorted(environment.items()))] = environment
    names = [search.scorer.name for search in searches]
    return SearchResult(
        proxies=tuple(name for name in names if name != REFERENCE),
        networks=tuple(space),
        reference=REFERENCE in names,
        frame=pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float)),
        set_seconds={
            search.scorer.name: sum(store.record(key)["seconds"] for key in graph_of([search.scorer.source]))
            for search in searches
            if search.scorer.source is not None
        },
        environments=[environments[name] for name in sorted(environments)],
    )
