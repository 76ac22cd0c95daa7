"""Inputs in batches, each batch in a forked process, so that a hang, a crash or a full memory is one input's."""

import faulthandler
import json
import mmap
import os
import resource
import select
import shutil
import signal
import struct
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, TextIO

from tests.fuzz.oracle import Failure, Sandbox
from tests.fuzz.reader import Attempt, Reader

SECONDS = 10.0  # for one input
# What readers import when they need it, which must not be taken for time that an input takes.
_LAZY = ("datasets", "pyarrow.parquet", "sklearn.datasets", "scipy.stats", "torch.nn.attention")
MEGABYTES = 1500.0  # that one input may add
_LIMIT = 8 << 30  # bytes of a process, to protect the machine
_STATE = struct.Struct("qdq")  # number of the input, since when it is tried, how many were accepted


@dataclass
class Batch:
    """What became of a batch.

    Attributes:
        reader: Name of the reader.
        first: Number of the first input.
        past: Number after the last.
        seconds: How long it took.
        accepted: How many inputs were read without complaint.
        failures: Each with its number.
    """

    reader: str
    first: int
    past: int
    seconds: float = 0.0
    accepted: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)


class Prepared:
    """A reader with its valid files."""

    def __init__(self, reader: Reader, home: Path) -> None:
        for module in _LAZY:
            import_module(module)
        self.reader, self._home = reader, home / reader.name
        self._home.mkdir(parents=True)
        self.attempt: Attempt = reader.prepare(self._home)

    def run(self, seed: int, first: int, past: int) -> Batch:
        """Try some inputs; go on behind one that ends the process."""
        began = time.monotonic()
        batch = Batch(self.reader.name, first, past)
        while first < past:
            first = self._fork(seed, first, batch) + 1
        batch.seconds = time.monotonic() - began
        return batch

    def _fork(self, seed: int, first: int, batch: Batch) -> int:
        """Try inputs in a new process, and return the number of the last that was tried."""
        state = mmap.mmap(-1, _STATE.size)
        _STATE.pack_into(state, 0, first, time.monotonic(), 0)
        root = Path(tempfile.mkdtemp(prefix="sandbox-", dir=self._home.parent))
        reading, writing = os.pipe()
        with (root / "stack").open("w+") as stack:
            child = os.fork()
            if child == 0:
                os.close(reading)
                faulthandler.enable(stack)
                _work(self, Sandbox(root / "around"), seed, range(first, batch.past), state, writing, stack)
            os.close(writing)
            lines, why = _followed(child, reading, state)
            batch.failures += map(json.loads, lines)
            number, _, accepted = _STATE.unpack_from(state)
            batch.accepted += accepted
            stack.seek(0)
            if why:
                found = [line.strip() for line in stack if "datacondense" in line or why == "harness"]
                text = "".join(found[-1:] if why == "harness" else found[:1]).rpartition(
                    f"datacondense{os.sep}"
                )[2]
                batch.failures.append({"number": number, **asdict(Failure(why, "", "", text))})
        shutil.rmtree(root, ignore_errors=True)
        return int(number)


def _work(
    prepared: Prepared,
    sandbox: Sandbox,
    seed: int,
    numbers: Iterable[int],
    state: mmap.mmap,
    pipe: int,
    log: TextIO,
) -> None:
    """Try inputs in a forked process, until one takes too much memory."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT, _LIMIT))
        warnings.simplefilter("ignore")
        sandbox.prepare()
        for failure in _tried(prepared, sandbox, seed, numbers, state):
            os.write(pipe, (json.dumps(failure) + "\n").encode())
        code = 0
    except BaseException:
        traceback.print_exc(file=log)
        log.flush()
    finally:
        os._exit(code)


def _tried(
    prepared: Prepared, sandbox: Sandbox, seed: int, numbers: Iterable[int], state: mmap.mmap
) -> Iterator[dict[str, Any]]:
    """Yield the failures."""
    peak = _peak()
    for number in numbers:
        began = time.monotonic()
        _STATE.pack_into(state, 0, number, began, sandbox.accepted)
        sandbox.clear()
        call = prepared.attempt(Random(f"{prepared.reader.name} {seed} {number}"), sandbox)
        failure = sandbox.judge(call)
        if failure is not None:
            yield {"number": number, **asdict(failure)}
        if time.monotonic() - began > SECONDS:
            yield {"number": number, **asdict(Failure("slow", "", "", f"{time.monotonic() - began:.0f} s"))}
        if _peak() - peak > MEGABYTES:
            yield {"number": number, **asdict(Failure("memory", "", "", f"{_peak() - peak:.0f} MB more"))}
            return


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident(process: int) -> float:
    """Return the peak memory of another process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _followed(child: int, pipe: int, state: mmap.mmap) -> tuple[list[str], str]:
    """Return the lines that a process wrote, and what ended it if an input did."""
    text, why = b"", ""
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while True:
            if select.select([file], [], [], 1.0)[0]:
                read = file.read(65536)
                text += read or b""
                if not read:
                    break
            elif not why and time.monotonic() - _STATE.unpack_from(state)[1] > SECONDS:
                why = "memory" if _resident(child) - _peak() > MEGABYTES else "hang"
                os.kill(child, signal.SIGABRT)  # which prints the stack
            elif why:
                os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0 and not why:
        why = f"killed by {signal.Signals(-status).name}" if status < 0 else "harness"
    return text.decode().splitlines(), why
