"""What must hold whatever a reader is given: one printable sentence or a result, and nothing touched elsewhere."""

import io
import os
import re
import shutil
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datacondense
from datacondense.errors import InputError

LONGEST = 1500  # letters of a message
LONGEST_COMPLAINT = 20_000
_WRITES = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen")
_PACKAGE = str(Path(datacondense.__file__).parent)


class WrongError(Exception):
    """An input had an effect that no input may have; the first argument names the kind."""


class _PipeError(BaseException):
    """A pipe was opened, which nobody will ever write to."""


@dataclass(frozen=True)
class Failure:
    """What an input did that it must not.

    Attributes:
        oracle: What was broken: "exception", "message", "output", "outside", "import", and what readers check.
        kind: Type of the exception, where there was one.
        place: The place in the code, where there was one.
        text: The details.
    """

    oracle: str
    kind: str
    place: str
    text: str


@dataclass
class Sandbox:
    """A folder around the one in which a reader works, with what an input must neither read, change nor import.

    Attributes:
        root: The folder; `work` in it is where inputs lie, and the current folder.
        accepted: How many inputs were read without complaint.
    """

    root: Path
    accepted: int = 0
    _seen: list[str] = field(default_factory=list)
    _watching: bool = False

    @property
    def work(self) -> Path:
        """The folder of the input, which may be written to."""
        return self.root / "work"

    def prepare(self) -> None:
        """Make the folder, go into it, and begin to watch this process."""
        self.work.mkdir(parents=True)
        (self.root / "cache").mkdir()
        for name in ("private.txt", "private.png", ".private.mkv.part"):
            (self.root / name).write_bytes(b"mine")
        (self.work / "evil.py").write_text(
            f"open({str(self.root / 'was_imported')!r}, 'w').close()\nnet = None\n"
        )
        os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(self.root / "cache")
        os.chdir(self.work)
        sys.addaudithook(self._audit)

    def clear(self) -> None:
        """Remove what the last input left."""
        for entry in list(os.scandir(self.work)):
            if entry.name == "evil.py":
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108 — a thousand times a second

    def judge(self, call: Callable[[], object]) -> Failure | None:
        """Call and return what went wrong, if anything did, with paths below the sandbox."""
        failure = self._judge(call)
        return failure and replace(failure, text=failure.text.replace(f"{self.root}{os.sep}", ""))

    def _judge(self, call: Callable[[], object]) -> Failure | None:
        self._seen.clear()
        said, complained = io.StringIO(), io.StringIO()
        self._watching = True
        try:
            with redirect_stdout(said), redirect_stderr(complained):
                call()
            failure = None
            self.accepted += 1
        except WrongError as error:
            failure = Failure(str(error.args[0]), "", "", str(error.args[1]))
        except SystemExit as error:
            failure = None if error.code == 2 else _failure("exit code", error)
        except Exception as error:
            failure = _judged(error)
        except BaseException as error:
            failure = _failure("pipe opened" if isinstance(error, _PipeError) else "exception", error)
        finally:
            self._watching = False
            if sys.modules.pop("evil", None) is not None:
                self._seen.insert(0, "import: evil")
        if self._seen:
            what, _, details = self._seen[0].partition(": ")
            return Failure(what, "", "", details)
        # Standard error escapes what cannot be encoded, standard output does not.
        escaped = complained.getvalue().encode("utf-8", "backslashreplace").decode()
        return failure or _judged_output(said.getvalue() + escaped) or _judged_length(escaped)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            self._opened(*arguments)
        elif event in _WRITES:
            for path in arguments[: _WRITES[event]]:
                if event != "os.remove" or os.path.lexists(path):
                    self._written(path, event)
        # But for matplotlib, which looks for fonts that have the letters of a class's name.
        elif event in _STARTS[:-1] and "fc-list" not in str(arguments):
            self._seen.append(f"started: {event} {str(arguments)[:100]}")

    def _opened(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or path is None:
            return
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            self._written(path, "open")
            return
        text = os.fsdecode(path)
        if os.path.basename(text).startswith("private"):  # noqa: PTH119
            self._seen.append(f"foreign file read: {text}")
        elif mode is not None and text.endswith(_PIPE) and stat.S_ISFIFO(os.stat(path).st_mode):  # noqa: PTH116
            raise _PipeError(text)

    def _written(self, path: Any, event: str) -> None:
        known = isinstance(path, str | bytes | os.PathLike)
        text = os.path.abspath(os.fsdecode(path)) if known else ""  # noqa: PTH100 — links stay
        inside = (f"{self.work}{os.sep}", f"{self.root / 'cache'}{os.sep}", "/dev/null", "/proc/")
        if text and not text.startswith(inside) and text != str(self.work):
            self._seen.append(f"outside: {event} {text}")
        elif text.endswith(_INPUTS) and event not in {"os.mkdir"}:
            self._seen.append(f"input changed: {event} {text}")


_PIPE = ("pipe", ".npz", ".npy", ".json", ".jsonl", ".safetensors", ".toml", ".png", ".parquet")
_INPUTS = ("given.safetensors", "given.npz", "given.png", "given.npy", "given.toml", "given.parquet")


def _judged(error: Exception) -> Failure | None:
    """Judge an exception: only one of the user's input may come, and only in one printable sentence."""
    if not isinstance(error, InputError):
        return _failure("exception", error)
    text = str(error)
    if len(text) > LONGEST or "\n" in text or not text.isprintable():
        wrong = "long" if len(text) > LONGEST else "not one printable line"
        return Failure("message", wrong, _place(error), f"{len(text)} letters: {text[:200]!a}")
    return None


def _judged_output(text: str) -> Failure | None:
    """Judge what was printed."""
    raw = re.search(r"[^\n\t\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]", text)
    if raw is None:
        return None
    return Failure("output", "raw", "", ascii(text[max(0, raw.start() - 50) : raw.end() + 50]))


def _judged_length(text: str) -> Failure | None:
    """Judge the length of what went to standard error: what a user typed is not repeated at any length."""
    if len(text) <= LONGEST_COMPLAINT:
        return None
    return Failure("output", "long", "", f"{len(text)} letters: {text[:100]!a}")


def _failure(oracle: str, error: BaseException) -> Failure:
    message = ascii(str(error))[:300]
    return Failure(oracle, type(error).__name__, _place(error), message)


def _place(error: BaseException) -> str:
    """Return the innermost place in the library; of a long traceback only its ends are looked at."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [
        f"{Path(name).name}:{frame.f_code.co_name}"
        for frame, _ in (*frames[:60], *frames[-60:])
        if (name := frame.f_code.co_filename).startswith(_PACKAGE)
    ]
    return own[-1] if own else ""


@contextmanager
def checking(oracle: str) -> Iterator[None]:
    """Turn a failed assertion of a reader into a failure of that name."""
    try:
        yield
    except AssertionError as error:
        raise WrongError(oracle, str(error)[:300]) from error
