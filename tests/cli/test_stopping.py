"""Ctrl-C and SIGTERM at any moment before a command computes: one word, and no traceback."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datacondense.cli.main import _on_signals, main
from datacondense.errors import InputError

# Before, it is Python itself that starts, whose own handler prints a traceback.
BEGIN = """
import datacondense.cli.main as entry

def begun(args, stop, run=entry._run):
    print("begun", flush=True)
    return run(args, stop)

entry._run = begun
raise SystemExit(entry.main())
"""
STOPPED = "datacondense: stopped.\n"


def stop_after(seconds: float, stop: signal.Signals, cache: Path) -> tuple[int, str]:
    """Start a command that only imports and parses, and stop it after a time; return exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, "condense", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_imports_are_stopped_at_once_and_in_a_word(stop: signal.Signals, tmp_path: Path) -> None:
    moments = [0.0, *(random.Random(0).uniform(0.0, 0.3) for _ in range(2))]  # torch alone takes longer
    for number, seconds in enumerate(moments):
        assert stop_after(seconds, stop, tmp_path / str(number)) == (130, STOPPED)


def test_handlers_come_back_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    assert main(["--version"]) == 0
    assert main(["nonsense"]) == 2
    assert {each: signal.getsignal(each) for each in before} == before
    capsys.readouterr()


def test_what_a_shell_ignores_stays_ignored() -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _on_signals(signal.default_int_handler)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_an_error_that_foreign_code_makes_of_ctrl_c_is_that_of_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Command:
        def __call__(self) -> int:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise InputError("the file is cut short") from None
            return 0

    monkeypatch.setattr("datacondense.cli.main.parsed", lambda _: Command())
    # A job in the background of a shell ignores Ctrl-C, and so would the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["info", "set"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == STOPPED
