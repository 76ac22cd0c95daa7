"""The queue of trials: filled once, claimed once, and taken up again when a worker dies, on SQLite and PostgreSQL."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import text

from datacondense.applications import trials
from datacondense.applications.search_trials import opened
from datacondense.applications.trials import Storage, TrialQueue
from datacondense.errors import InputError
from tests.postgres import postgres_server

GRID = [{"width": width, "depth": depth} for width in (8, 16, 32) for depth in (1, 2, 3, 4)]
SAMPLED: list[dict[str, Any]] = [{}] * 12
STUDIES = {"grid": GRID, "sampled": SAMPLED}


def queue_of(storage: Storage, name: str = "a study") -> TrialQueue:
    return TrialQueue(opened(storage), name, sampler="tpe", pruner="none", seed=0)


def fill(
    storage: Storage, wanted: list[dict[str, Any]], *, again: bool = True, name: str = "a study"
) -> TrialQueue:
    """Fill a queue as one process among several does."""
    queue = queue_of(storage, name)
    with storage.alone(queue._storage):
        queue.fill(wanted, again=again)
    return queue


def suggest(trial: optuna.Trial) -> float:
    """Suggest an architecture in the time that another worker needs to claim one."""
    width = trial.suggest_categorical("width", [8, 16, 32])
    depth = trial.suggest_categorical("depth", [1, 2, 3, 4])
    time.sleep(0.01)
    return float(width * depth)


def work(storage: Storage) -> int:
    """Run trials until none is left, and return their number."""
    queue, number = queue_of(storage), 0
    while (trial := queue.claim()) is not None:
        queue.run(trial, suggest)
        number += 1
    return number


def work_beside_another(storage: Storage, meeting: Path) -> list[int]:
    """Fill and empty a grid and a queue for a sampler, once two have come to a folder; return numbers of trials."""
    queues = {name: fill(storage, wanted, name=name) for name, wanted in STUDIES.items()}
    (meeting / str(os.getpid())).touch()
    latest = time.monotonic() + 60
    while len(list(meeting.iterdir())) < 2:
        assert time.monotonic() < latest, "the other one did not come"
        time.sleep(0.01)
    numbers = []
    for queue in queues.values():
        numbers.append(0)
        while (trial := queue.claim()) is not None:
            queue.run(trial, suggest)
            numbers[-1] += 1
    return numbers


def pairs(settings: Iterable[dict[str, int]]) -> list[tuple[int, int]]:
    """Return widths and depths."""
    return sorted((each["width"], each["depth"]) for each in settings)


def states(queue: TrialQueue) -> Counter[str]:
    return Counter(trial.state.name for trial in queue.trials())


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as started:
        yield started


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test has opened."""
    engines = []
    create = RDBStorage.__init__

    def remembered(self: RDBStorage, *given: Any, **options: Any) -> None:
        create(self, *given, **options)
        engines.append(self)

    monkeypatch.setattr(RDBStorage, "__init__", remembered)
    opened.cache_clear()
    yield
    opened.cache_clear()
    for storage in engines:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Give trials up soon; return the seconds after which that is certain."""
    monkeypatch.setattr(trials, "_SILENT_BEATS", 1)
    return 2.1  # databases tell the time in seconds


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "sqlite":
        return Storage(f"sqlite:///{tmp_path / 'search.db'}", 1)
    started = request.getfixturevalue("server")
    name = f"search_{abs(hash(tmp_path)) % 10**9}"
    started.psql(f"CREATE DATABASE {name};")
    return Storage(started.get_uri(database=name, driver="psycopg"), 1)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Two processes for both databases: each imports everything."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as started:
        yield started


def test_two_processes_share_the_trials_of_one_storage(
    storage: Storage, tmp_path: Path, pool: ProcessPoolExecutor
) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    numbers = list(pool.map(work_beside_another, [storage] * 2, [meeting] * 2))
    for name, shares in zip(STUDIES, zip(*numbers, strict=True), strict=True):
        assert sum(shares) == len(STUDIES[name])
        assert min(shares) > 0, "one process did everything"
        assert states(queue_of(storage, name)) == {"COMPLETE": len(STUDIES[name])}
    assert pairs(trial.params for trial in queue_of(storage, "grid").trials()) == pairs(GRID)


def test_of_two_who_claim_a_trial_at_the_same_time_one_gets_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, read = fill(storage, GRID[:1]), RDBStorage.check_trial_is_updatable

    def slow(self: RDBStorage, *given: Any) -> None:
        read(self, *given)
        time.sleep(0.3)  # in which the other one reads that the trial waits

    monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", slow)
    with ThreadPoolExecutor(2) as pool:
        claims = [pool.submit(queue_of(storage).claim) for _ in range(2)]
    assert sum(claim.result() is not None for claim in claims) == 1
    assert states(queue) == {"RUNNING": 1}


def test_of_two_who_fill_a_queue_at_the_same_time_one_does(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, enqueue = queue_of(storage), optuna.Study.enqueue_trial

    def slow(self: optuna.Study, settings: dict[str, Any]) -> None:
        time.sleep(0.1)
        enqueue(self, settings)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", slow)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, [storage] * 2, [GRID[:3]] * 2))
    assert states(queue) == {"WAITING": 3}


def test_a_half_filled_queue_is_completed_without_duplicates(storage: Storage) -> None:
    fill(storage, GRID[:5])
    queue = fill(storage, GRID)
    assert states(queue) == {"WAITING": len(GRID)}
    assert pairs(trial.system_attrs["fixed_params"] for trial in queue.trials()) == pairs(GRID)


def fall_silent(queue: TrialQueue) -> None:
    """Let the last signs of life of all workers be long ago."""
    with queue._storage.engine.begin() as connection:
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'"))


def test_the_trial_of_a_dead_worker_is_run_again(storage: Storage) -> None:
    queue = fill(storage, GRID)
    dead = queue.claim()
    assert dead is not None
    dead.suggest_categorical("width", [8, 16, 32])
    fill(storage, GRID, again=False)
    assert states(queue) == {"WAITING": len(GRID) - 1, "RUNNING": 1}, "a worker may be silent for a while"
    fall_silent(queue)
    fill(storage, GRID, again=False)
    assert work(storage) == len(GRID)
    assert states(queue) == {"COMPLETE": len(GRID), "FAIL": 1}
    # The worker was not dead after all, but too late.
    queue.run(dead, suggest)
    assert states(queue) == {"COMPLETE": len(GRID), "FAIL": 1}


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage(f"sqlite:///{tmp_path / 'search.db'}", 1)


def test_what_the_sampler_suggested_is_tried_again_when_its_worker_dies(local: Storage) -> None:
    queue = fill(local, SAMPLED[:2])
    dead = queue.claim()
    assert dead is not None
    suggest(dead)
    fall_silent(queue)
    fill(local, SAMPLED[:2], again=False)
    assert states(queue) == {"WAITING": 2, "FAIL": 1}
    while (trial := queue.claim()) is not None:
        queue.run(trial, suggest)
    complete = queue.trials(TrialState.COMPLETE)
    assert dead.params in [trial.params for trial in complete]


def test_a_living_worker_is_not_given_up(local: Storage, impatient: float) -> None:
    queue = fill(local, GRID[:2])
    trial = queue.claim()
    assert trial is not None

    def slow(trial: optuna.Trial) -> float:
        time.sleep(impatient)
        fill(local, GRID[:2], again=False)
        return suggest(trial)

    queue.run(trial, slow)
    assert states(queue) == {"WAITING": 1, "COMPLETE": 1}


def test_errors_are_recorded_and_tried_again_by_the_next_command_only(local: Storage) -> None:
    def fail(trial: optuna.Trial) -> float:
        raise InputError("out of luck")

    queue = fill(local, GRID[:2])
    for _ in range(2):
        trial = queue.claim()
        assert trial is not None
        queue.run(trial, fail)
    fill(local, GRID[:2], again=False)
    assert states(queue) == {"FAIL": 2}
    assert {trial.user_attrs[trials.ERROR] for trial in queue.trials()} == {"out of luck"}
    fill(local, GRID[:2])
    assert states(queue) == {"FAIL": 2, "WAITING": 2}


def test_an_architecture_that_kills_its_workers_is_left_to_the_next_command(
    local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_SILENT_BEATS", -1)  # every worker is dead at once
    queue = fill(local, GRID[:1])
    for _ in range(trials._MOST_DEATHS):
        assert queue.claim() is not None
        fill(local, GRID[:1], again=False)
    assert states(queue) == {"FAIL": trials._MOST_DEATHS}
    fill(local, GRID[:1])
    assert states(queue) == {"FAIL": trials._MOST_DEATHS, "WAITING": 1}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////nowhere/search.db", r"The storage sqlite:////nowhere/search.db cannot be opened"),
        (
            "postgresql+psycopg://me:geheim@localhost:1/x",
            r"me:\*\*\*@localhost:1/x cannot be opened \(.*refused",
        ),
        ("geheim", r"The storage cannot be opened \(Could not parse"),
        ("oracel://me:geheim@host/x", r"The storage oracel://me:\*\*\*@host/x cannot be opened \(Can't load"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_sentence_without_password(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        Storage(url, 1).open()
    assert "geheim" not in str(refused.value)


def test_what_a_driver_says_is_repeated_without_the_password() -> None:
    storage = Storage("postgresql+psycopg://me:geheim@localhost/x", 1)
    with pytest.raises(InputError, match=r"\(no user me with \*\*\*\)"), storage.in_use():
        raise StorageInternalError("no user me with geheim.")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but long enough to be looked at " * 30, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"notes.txt cannot be opened \(file is not a database\): check the URL"
    ):
        Storage(f"sqlite:///{path}", 1).open()
    assert path.read_text(encoding="utf-8").startswith("no database")


def test_a_database_that_goes_away_is_one_sentence(server: Any, tmp_path: Path) -> None:
    server.psql("CREATE DATABASE leaving;")
    storage = Storage(server.get_uri(database="leaving", driver="psycopg"), 1)
    queue = fill(storage, GRID[:2])
    trial = queue.claim()
    assert trial is not None
    server.psql("DROP DATABASE leaving WITH (FORCE);")
    sentence = r"leaving.* cannot be used any more \(.*\): what is finished is kept"
    with pytest.raises(InputError, match=sentence), storage.in_use():
        queue.run(trial, suggest)
