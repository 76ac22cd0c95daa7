"""Compiling at first use, and doing without."""

import subprocess
import sys
from pathlib import Path

import pytest

from datacondense.kernels import build
from datacondense.kernels.build import UnavailableError
from tests.conftest import has_kernels

fresh = build.library.__wrapped__  # without the memory of an earlier call


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "datacondense"


needs_compiler = pytest.mark.skipif(not has_kernels(), reason="no C compiler on this machine")


@needs_compiler
def test_the_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    (made,) = cache.iterdir()
    assert made.suffix == ".so"

    def compile_again(*_: object) -> None:
        raise AssertionError("compiled a second time")

    monkeypatch.setattr(build, "_compile", compile_again)
    fresh()


@needs_compiler
def test_other_options_make_another_library(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    monkeypatch.setattr(build, "_OPTIONS", (*build._OPTIONS, "-g0"))
    fresh()
    assert len(list(cache.iterdir())) == 2


def test_library_without_a_compiler_is_unavailable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(UnavailableError, match=r"there is no C compiler \(cc, gcc or clang\)"):
        fresh()


def test_a_compiler_that_fails_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "cc"
    broken.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo broken; exit 0; fi\necho "no such option" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(UnavailableError, match=r"cc cannot compile the kernels \(no such option\)"):
        fresh()
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    if has_kernels():
        with pytest.raises(UnavailableError, match=r"cannot compile the kernels .*file"):
            fresh()


def test_only_linux_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(UnavailableError, match="run on Linux only, and this is Darwin"):
        fresh()


@needs_compiler
def test_two_processes_at_once_both_get_it(cache: Path) -> None:
    code = "from datacondense.kernels.build import library; library()"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert [path.suffix for path in cache.iterdir()] == [".so"]
