"""An Optuna study as a queue of trials, which workers on any number of machines share through one storage.

Every trial is put into the queue before it is run: an architecture of a grid, or one that the sampler will suggest.
Workers claim trials one by one and show regularly that they live. A trial whose worker is silent is given up, and its
architecture is put into the queue again.
"""

import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import optuna
import sqlalchemy
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from datacondense.applications.search_space import Settings
from datacondense.errors import InputError
from datacondense.locking import locked

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "grid": lambda seed: RandomSampler(seed=seed),  # is never used: the queue holds every architecture
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed),
}
PRUNERS: Mapping[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "successive-halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}
ERROR = "error"  # attribute of a trial whose network could not be trained
_SILENT_BEATS = 3  # after which a worker counts as dead
_MOST_DEATHS = 3  # of workers on one architecture, before it is left to the next command
_SECONDS_TO_WAIT = 60  # for another process that writes to the same SQLite file
_DATABASE = (SQLAlchemyError, StorageInternalError)  # errors of one that is gone or cannot be written
_OPENING = (
    *_DATABASE,
    ImportError,
    RuntimeError,
)  # the driver is missing, or the tables are of another Optuna

Objective: TypeAlias = Callable[[optuna.Trial], float]

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Storage:
    """A database of Optuna studies.

    Attributes:
        url: Its URL, as SQLAlchemy reads it.
        heartbeat: Seconds between two signs of life of a worker.
    """

    url: str
    heartbeat: int

    def open(self) -> RDBStorage:
        """Connect, and create the tables where there are none."""
        with self._explained(_OPENING, "cannot be opened", "check the URL, and that the database runs"):
            with self._locked_file():
                storage = self._created()
            # Set here since the arguments of the same names warn that they are experimental.
            storage.heartbeat_interval = self.heartbeat
            storage.grace_period = _SILENT_BEATS * self.heartbeat
            if self._sqlite:
                _lock_from_the_beginning(storage.engine)
            return storage

    def _created(self) -> RDBStorage:
        """Connect, and once more where another machine creates the same tables at this moment."""
        options: dict[str, Any] = {"connect_args": {"timeout": _SECONDS_TO_WAIT}} if self._sqlite else {}
        engine = {"pool_pre_ping": True, **options}
        try:
            return RDBStorage(self.url, engine_kwargs=engine)
        except DBAPIError:
            time.sleep(1)
            return RDBStorage(self.url, engine_kwargs=engine)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Turn errors of a database that goes away into one sentence."""
        remedy = "what is finished is kept; run the same command again when the database is back"
        with self._explained(_DATABASE, "cannot be used any more", remedy):
            yield

    @contextmanager
    def alone(self, storage: RDBStorage) -> Iterator[None]:
        """Keep all others out that call this with the same database, on whatever machine."""
        if self._sqlite:
            with self._locked_file():
                yield
            return
        # A row of Optuna's that nobody else locks.
        version = sqlalchemy.table("version_info", sqlalchemy.column("version_info_id"))
        with storage.engine.begin() as connection:
            connection.execute(sqlalchemy.select(version).with_for_update())
            yield

    @property
    def _sqlite(self) -> bool:
        return sqlalchemy.make_url(self.url).get_backend_name() == "sqlite"

    @contextmanager
    def _locked_file(self) -> Iterator[None]:
        """Hold the lock beside an SQLite file, where there is one and a folder for it."""
        path = Path(sqlalchemy.make_url(self.url).database or "") if self._sqlite else None
        has_folder = path is not None and path.name and path.parent.is_dir()
        with locked(Path(f"{path}.lock"), wait=True) if has_folder else nullcontext():
            yield

    @contextmanager
    def _explained(self, errors: tuple[type[Exception], ...], failure: str, remedy: str) -> Iterator[None]:
        """Turn errors into one sentence, without the password."""
        try:
            yield
        except errors as error:
            cause: Any = error.__cause__ or error
            text = str(getattr(cause, "orig", cause)).strip().split("\n")[0].rstrip(".")
            shown = ""
            with suppress(SQLAlchemyError):  # no URL at all, of which nothing is printed
                url = sqlalchemy.make_url(self.url)
                shown = f" {url.render_as_string(hide_password=True)}"
                text = text.replace(str(url.password), "***") if url.password else text
            raise InputError(f"The storage{shown} {failure} ({text}): {remedy}.") from error


def _lock_from_the_beginning(engine: sqlalchemy.Engine) -> None:
    """Let every transaction on SQLite lock the file from its beginning, so that no two workers claim one trial.

    SQLite has no `SELECT … FOR UPDATE`: two transactions could both read that a trial waits before either writes.
    """

    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # Python's driver begins no transaction of its own

    def begun(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections of before
    sqlalchemy.event.listen(engine, "connect", connected)
    sqlalchemy.event.listen(engine, "begin", begun)


class TrialQueue:
    """The trials of one Optuna study.

    Attributes:
        study: The study; it is created where there is none of this name.
    """

    def __init__(self, storage: RDBStorage, name: str, *, sampler: str, pruner: str, seed: int) -> None:
        with suppress(DuplicatedStudyError):
            optuna.create_study(storage=storage, study_name=name, direction="maximize")
        self.study = optuna.load_study(study_name=name, storage=storage, pruner=PRUNERS[pruner]())
        self._storage, self._sampler, self._seed = storage, SAMPLERS[sampler], seed

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in some states, or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def fill(self, wanted: Sequence[Settings], *, again: bool) -> None:
        """Put what is missing into the queue, also in the place of trials whose workers are dead.

        Empty settings stand for an architecture that the sampler suggests. `again` also tries what failed by an error
        or killed its worker again and again. Only one process may fill a queue at a time.
        """
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            optuna.storages.fail_stale_trials(self.study)
        trials = self.trials()
        deaths = Counter(_frozen(_queued(each)) for each in trials if _is_given_up(each))
        missing = Counter(map(_frozen, wanted))
        sampled = _frozen({}) in missing

        def counts(trial: FrozenTrial) -> bool:
            if trial.state != TrialState.FAIL:
                return True
            is_hopeless = ERROR in trial.user_attrs or deaths[_frozen(_queued(trial))] >= _MOST_DEATHS
            return is_hopeless and not again

        counted = [_queued(each) for each in trials if counts(each)]
        missing.subtract(_frozen({} if sampled else settings) for settings in counted)
        interrupted = iter([
            each.params for each in trials if _is_given_up(each) and each.params not in counted
        ])
        for settings, number in missing.items():
            for _ in range(number):
                self.study.enqueue_trial(dict(settings) or next(interrupted, {}))

    def claim(self) -> optuna.Trial | None:
        """Return a waiting trial that is now this worker's; None if there is none."""
        for waiting in self.trials(TrialState.WAITING):
            trial_id = waiting._trial_id
            self._storage.record_heartbeat(trial_id)  # first: a trial without any would never be given up
            with suppress(UpdateFinishedTrialError):
                if self._storage.set_trial_state_values(trial_id, state=TrialState.RUNNING):
                    self.study.sampler = self._sampler(self._seed + waiting.number)
                    return optuna.Trial(self.study, trial_id)
        return None

    def run(self, trial: optuna.Trial, objective: Objective) -> None:
        """Run a claimed trial, and record what came out."""
        # Where this worker was silent for too long, the trial was given up and is somebody else's.
        with suppress(UpdateFinishedTrialError):
            value: float | None = None
            try:
                with self._beating(trial._trial_id):
                    value, state = objective(trial), TrialState.COMPLETE
            except optuna.TrialPruned:
                state = TrialState.PRUNED
            except InputError as error:
                state = TrialState.FAIL
                trial.set_user_attr(ERROR, str(error))
            self.study.tell(trial, value, state, skip_if_finished=True)

    @contextmanager
    def _beating(self, trial_id: int) -> Iterator[None]:
        """Show regularly that this worker lives."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self._storage.heartbeat_interval):
                with suppress(*_DATABASE):  # of which the trial's own next access speaks
                    self._storage.record_heartbeat(trial_id)
            self._storage.remove_session()

        beating = threading.Thread(target=beat, daemon=True)
        beating.start()
        try:
            yield
        finally:
            over.set()
            beating.join()


_Frozen: TypeAlias = frozenset[tuple[str, Any]]


def _frozen(settings: Settings) -> _Frozen:
    return frozenset(settings.items())


def _queued(trial: FrozenTrial) -> Settings:
    """Return the settings that a trial was put into the queue with, or that the sampler suggested."""
    settings: Settings = trial.system_attrs.get("fixed_params") or trial.params
    return settings


def _is_given_up(trial: FrozenTrial) -> bool:
    """Whether the worker of a trial has died."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs
