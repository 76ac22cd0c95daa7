"""Compiles the C sources of this folder once per machine, and loads them.

A library runs with all rights of the user, so one is loaded only if this user alone could have written it and it still
has the checksum beside it. Anything else is compiled again, and tried in a process of its own first: a compiler may
write what ends a process.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from datacondense.cache import cache_folder, is_private_file, private_folder
from datacondense.errors import InputError
from datacondense.files import flush_to_disk, write_text

_SOURCES = tuple(sorted(Path(__file__).parent.glob("*.c")))
_OPTIONS = (
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fopenmp",
    "-shared",
    "-fPIC",
    "-Wno-psabi",  # about vectors wider than the processor's as arguments: every function that has them is inlined
)
_SECONDS = 60  # a second is usual
_FUNCTIONS = ("norm_relu_pool_forward", "norm_relu_pool_backward")


class UnavailableError(Exception):
    """The kernels are not available on this machine; the text says why."""


@cache
def library() -> ctypes.CDLL:
    """Load the compiled kernels; compile them first, in about a second, where no earlier process has."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if platform.system() != "Linux":
        raise UnavailableError(f"the kernels run on Linux only, and this is {platform.system()}")
    if compiler is None:
        raise UnavailableError("there is no C compiler (cc, gcc or clang)")
    try:
        path = private_folder(cache_folder()) / f"kernels-{_key(compiler)}.so"
        if not _is_intact(path):
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError, InputError) as error:
        raise UnavailableError(f"{compiler} cannot compile the kernels ({_reason(error)})") from error


def _key(compiler: str) -> str:
    """Return a hash of all that the compiled file depends on: the sources, the options, the compiler and the processor.

    It is part of the file's name, so that machines may share a home folder.
    """
    version = subprocess.run(
        [compiler, "--version"], check=True, capture_output=True, timeout=_SECONDS
    ).stdout
    digest = hashlib.sha256(version)
    for part in (repr(_OPTIONS), _processor(), *(source.read_text() for source in _SOURCES)):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Return the instructions that the processor knows."""
    described = {
        line
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        if line.startswith(("flags", "Features", "model name", "CPU part"))
    }
    return platform.machine() + "\n".join(sorted(described))


def _compile(compiler: str, path: Path) -> None:
    """Compile under another name and try it, then rename, so that no process loads a part of the library."""
    functions = ", ".join(f"library.{name}" for name in _FUNCTIONS)
    trial = f"import ctypes, sys; library = ctypes.CDLL(sys.argv[1]); {functions}"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled = Path(folder) / path.name
        for command in (
            [compiler, *_OPTIONS, *map(str, _SOURCES), "-o", str(compiled), "-lm"],
            [sys.executable, "-I", "-c", trial, str(compiled)],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, errors="replace", timeout=_SECONDS
            )
        compiled.chmod(0o700)
        flush_to_disk(compiled)
        write_text(_checksum_file(path), _checksum(compiled))
        compiled.replace(path)


def _is_intact(path: Path) -> bool:
    """Whether a compiled library is what this user compiled."""
    beside = _checksum_file(path)
    return (
        is_private_file(path)
        and is_private_file(beside)
        and beside.read_text("ascii", "replace") == _checksum(path)
    )


def _checksum_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _reason(error: Exception) -> str:
    """Return what failed in a few words."""
    lines = str(getattr(error, "stderr", None) or "").strip().splitlines()
    return lines[-1 if lines[0].startswith("Traceback") else 0] if lines else str(error)
