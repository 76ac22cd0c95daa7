"""A command in a forked process, whose end is known whatever ends it."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from datacondense.cli.main import main

SECONDS = 60.0  # after which a command hangs
_SIGNALS = {signal.SIGINT, signal.SIGTERM}
BROKEN = 70  # the exit code of an exception that escaped


class Child:
    """A command that runs in a folder; what it prints goes to a file."""

    def __init__(
        self, words: list[str], folder: Path, log: Path, arrange: Callable[[], None] | None = None
    ) -> None:
        self._log = log
        self._code: int | None = None
        self.began = time.monotonic()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the child can catch them
        self.process = os.fork()
        if self.process == 0:
            _work(words, folder, log, arrange)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self.ended():
            os.kill(self.process, number)

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._code is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for the exit code, negative for a signal."""
        until = time.monotonic() + seconds
        pause = 0.0002
        while not self.ended():
            if time.monotonic() > until:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                self._code = BROKEN
                raise TimeoutError(f"hangs after {seconds:.0f} s: {self.said()}")
            time.sleep(pause)
            pause = min(0.005, pause * 1.5)
        assert self._code is not None
        return self._code

    def said(self) -> str:
        """Return what it printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _work(words: list[str], folder: Path, log: Path, arrange: Callable[[], None] | None) -> None:
    """Run the command in the forked process, and leave it without cleaning up what the parent owns."""
    code = BROKEN
    try:
        os.chdir(folder)
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if arrange is not None:
            arrange()
        code = main(words)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else BROKEN
    except BaseException as error:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if _is_ours(error):
            with suppress(OSError):
                traceback.print_exc()
        else:  # the signal came before the command began, or after it ended
            os.write(2, b"stopped outside of the command")
            code = 130
    finally:
        os._exit(code)


def _is_ours(error: BaseException) -> bool:
    """Whether an exception passed through the library once it had prepared for signals."""
    ours = [
        frame.f_code.co_name
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "datacondense" in frame.f_code.co_filename
    ]
    return bool(ours) and ours[-1] not in {"main", "_stopping_at_once"}
