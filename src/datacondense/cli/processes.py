"""Several processes of one command: what starts them and watches over them, and how each of them joins the others."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch

from datacondense.errors import InputError
from datacondense.ranks import LostRankError, current_ranks
from datacondense.settings import check_at_least

T = TypeVar("T")

_DIST: Any = torch.distributed  # whose stores carry no types
_PROGRAM = "datacondense"
_INPUT, _INTERRUPTED, _LOST = 2, 130, 1  # exit codes
_STARTED = "DATACONDENSE_STARTED"  # set in processes that another one of this program watches over
_PATIENCE = timedelta(
    days=1
)  # for a rank that still trains what the others wait for; a dead one is noticed at once
_BETWEEN_LOOKS, _PARTING, _GRACE = 0.05, 5.0, 60.0  # seconds: a rank may have a large checkpoint to write


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How many processes share the work.

    Attributes:
        processes: Processes of this machine that share the work, each with an equal part of its threads, or a GPU of
            its own. On several machines, leave it out and start the command by torchrun.
    """

    processes: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "processes")


def number_to_start(command: object) -> int:
    """Return how many processes this one has to start for a command; 0 where it is to run the command itself."""
    ranks, sharing = current_ranks(), getattr(command, "sharing", None)
    if ranks.size == 1:
        return 0 if sharing is None or sharing.processes == 1 else sharing.processes
    if sharing is None:
        raise InputError(f"There are {ranks.size} processes, but this command runs in one: start one.")
    if sharing.processes not in {1, ranks.size}:
        raise InputError(
            f"processes is {sharing.processes}, but {ranks.size} are there already: leave --processes out."
        )
    return 0


def start_all(args: Sequence[str], number: int) -> int:
    """Run a command in several processes, and return its exit code; a process that dies ends all.

    Args:
        args: The arguments of the command.
        number: How many processes.

    Returns:
        0 once all have ended well, else what tells best why they did not.
    """
    # It is here, so that it outlives each of them.
    store = _DIST.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **_loopback(),
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(number)),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // number)),
        _STARTED: "1",
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-m", _PROGRAM, *args],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.PIPE,  # ends with this process
            process_group=0,  # Ctrl-C comes to this process, which passes it on once
        )
        for rank in range(number)
    ]
    try:
        code = _watched(children, args[0])
    except KeyboardInterrupt:
        _end(children)
        return _INTERRUPTED
    finally:
        for child in children:
            child.kill()
            child.communicate()  # closes the pipe to it
    return code


def _loopback() -> dict[str, str]:
    """Return the variable by which gloo lets nothing leave the machine, where the interface's name is known."""
    names = [name for _, name in socket.if_nameindex() if name in {"lo", "lo0"}]  # of Linux, of macOS
    return {"GLOO_SOCKET_IFNAME": names[0]} if names else {}


def _watched(children: Sequence["subprocess.Popen[bytes]"], name: str) -> int:
    """Wait until all have ended; once one fails, the others soon do."""
    while any(child.poll() is None for child in children) and not any(child.poll() for child in children):
        time.sleep(_BETWEEN_LOOKS)
    killed = [rank for rank, child in enumerate(children) if (child.poll() or 0) < 0]
    if killed:
        again = "with --resume to continue" if name == "condense" else "again"
        text = f"Process {killed[0]} was killed by signal {-(children[killed[0]].poll() or 0)}"
        print(f"{_PROGRAM}: {text}: run the same command {again}.", file=sys.stderr, flush=True)
    # Those that exchange anything with it notice by themselves.
    _wait(children, _PARTING if killed else _GRACE)
    _end(children, silently=bool(killed))
    codes = [child.returncode for child in children]
    if killed or not any(codes):
        return _LOST if killed else 0
    return next((code for code in (_INTERRUPTED, _INPUT) if code in codes), _LOST)


def _end(children: Sequence["subprocess.Popen[bytes]"], *, silently: bool = False) -> None:
    """Let processes save what they have and leave; those that do not are killed."""
    for child in children:
        if silently and child.stdin is not None and child.poll() is None:
            with suppress(OSError):  # it has just ended
                child.stdin.write(b".")
                child.stdin.flush()
        else:
            child.terminate()
    _wait(children, _GRACE)


def _wait(children: Sequence["subprocess.Popen[bytes]"], seconds: float) -> None:
    """Wait until all have ended, for so many seconds at most."""
    until = time.monotonic() + seconds
    while any(child.poll() is None for child in children) and time.monotonic() < until:
        time.sleep(_BETWEEN_LOOKS)


def run_as_rank(run: Callable[[], int]) -> int:
    """Join the other processes and run a command with them; one of them says why, where they fail.

    Args:
        run: The command.

    Returns:
        0; where it fails, the process ends with the exit code.

    Raises:
        InputError: The variables that tell of the other processes are incomplete.
    """
    if _STARTED in os.environ:
        threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        notes, rank, size = _interruptible(_joined)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"The other processes cannot be joined ({error}): start all by torchrun, or by --processes."
        ) from error
    text = ""
    try:
        with _quiet(rank > 0):
            code = run()
    except InputError as error:
        code, text = _INPUT, str(error)
    except KeyboardInterrupt:
        code, text = _INTERRUPTED, "stopped."
    except LostRankError as error:
        code, text = _after_a_loss(notes), str(error)
    if not code:
        _DIST.destroy_process_group()
        return 0
    if text:
        _say_once(notes, code, text)
    _leave_group(notes, rank, size)
    # What is left of the group could end this process in a way of its own.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _joined() -> tuple[Any, int, int]:
    """Join the group; return where ranks leave notes, this one's number, and how many there are."""
    store, rank, size = next(_DIST.rendezvous("env://", timeout=_PATIENCE))
    group, notes = (_DIST.PrefixStore(name, store) for name in ("group", "notes"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    _DIST.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=_PATIENCE)
    return notes, rank, size


def _interruptible(call: Callable[[], T]) -> T:
    """Call what may wait for long outside of Python, where no signal would be handled."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not found.done():
        time.sleep(_BETWEEN_LOOKS)
    return found.result()


def _leave_group(notes: Any, rank: int, size: int) -> None:
    """Let the others notice that this rank is gone; the one that has the store stays until they have read it."""
    leaving = threading.Thread(target=_DIST.destroy_process_group, daemon=True)  # may wait for a GPU in vain
    leaving.start()
    leaving.join(_PARTING)
    until = time.monotonic() + _PARTING
    has_store = rank == 0 and "TORCHELASTIC_USE_AGENT_STORE" not in os.environ
    try:
        left = notes.add("left", 1)
        while has_store and left < size and time.monotonic() < until:
            time.sleep(_BETWEEN_LOOKS)
            left = notes.add("left", 0)
    except RuntimeError:  # gone
        return


def _say_once(notes: Any, code: int, text: str) -> None:
    """Print why all ranks end, unless another one has, and leave the code for those that only lost this one."""
    try:
        notes.set("code", str(code))
        is_first = notes.add("said", 1) == 1
    except RuntimeError:  # the store was another rank's, which is gone
        is_first = True
    watched = code == _LOST and _STARTED in os.environ  # who watches knows which process died
    if is_first and not watched:
        print(f"{_PROGRAM}: {text}", file=sys.stderr, flush=True)


def _after_a_loss(notes: Any) -> int:
    """Return the exit code with which another rank ended before this one."""
    try:
        return int(notes.get("code")) if notes.check(["code"]) else _LOST
    except RuntimeError:
        return _LOST


@contextmanager
def _quiet(silent: bool) -> Iterator[None]:
    """Print nothing, on all ranks but the first."""
    if not silent:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _leave_with_parent() -> None:
    """Stop as at Ctrl-C once the process that started this one is gone, or has said why all have to leave."""
    if os.read(0, 1):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.kill(os.getpid(), signal.SIGTERM)
