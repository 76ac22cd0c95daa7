"""Help of a subcommand, kept between calls: to list its options loads torch, which takes a second or more."""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from datacondense.cache import cache_folder
from datacondense.errors import InputError
from datacondense.files import write_text

_PACKAGE = Path(__file__).parents[1]


class _Noting(io.TextIOBase):
    """Prints, and notes what is printed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.text = stream, ""

    def write(self, text: str) -> int:
        self.text += text
        return self._stream.write(text)

    def isatty(self) -> bool:
        return self._stream.isatty()


def print_help(args: Sequence[str], show: Callable[[], object]) -> None:
    """Print the help of a subcommand: what was printed last time, unless anything it depends on has changed."""
    path = _kept(args)
    if path is not None:
        with suppress(OSError, UnicodeDecodeError):
            print(path.read_text(encoding="utf-8"), end="")
            return
    stdout = sys.stdout
    sys.stdout = noting = _Noting(stdout)
    try:
        show()
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.stdout = stdout
    if path is not None:
        with suppress(InputError):  # a folder that cannot be written keeps nothing
            write_text(path, noting.text)


def _kept(args: Sequence[str]) -> Path | None:
    """Return where the help is kept, by all that it depends on, encodings excepted; None without a cache folder."""
    source = [(str(path), path.stat().st_mtime_ns) for path in sorted(_PACKAGE.rglob("*.py"))]
    terminal = (shutil.get_terminal_size().columns, sys.stdout.isatty(), os.environ.get("NO_COLOR"))
    digest = hashlib.sha256(repr((list(args), source, terminal, sys.version)).encode())
    try:
        return cache_folder() / "help" / digest.hexdigest()[:16]
    except (RuntimeError, InputError):  # of a user without a home
        return None
