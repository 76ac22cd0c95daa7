"""Compiles the C sources of this folder once per machine, and loads them."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from datacondense.cache import cache_folder

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
_SECONDS = 120


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
        path = cache_folder() / f"kernels-{_key(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
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
    """Compile under another name, then rename, so that no process loads a part of the library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled = Path(folder) / path.name
        command = [compiler, *_OPTIONS, *map(str, _SOURCES), "-o", str(compiled), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        compiled.replace(path)


def _reason(error: Exception) -> str:
    """Return what failed in a few words."""
    output = getattr(error, "stderr", None)
    return str(output).strip().splitlines()[0] if output else str(error)
