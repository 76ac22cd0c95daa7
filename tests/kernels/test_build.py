"""Compiling at first use, and doing without."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datacondense.cache import cache_folder
from datacondense.errors import InputError
from datacondense.kernels import build
from datacondense.kernels.build import UnavailableError
from tests.conftest import has_kernels

fresh = build.library.__wrapped__  # without the memory of an earlier call


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Nothing here computes, so that the compiler need not take pains.
    monkeypatch.setattr(
        build, "_OPTIONS", tuple("-O0" if option == "-O3" else option for option in build._OPTIONS)
    )
    return tmp_path / "datacondense"


needs_compiler = pytest.mark.skipif(not has_kernels(), reason="no C compiler on this machine")


@needs_compiler
def test_the_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    assert sorted(path.suffix for path in cache.iterdir()) == [".sha256", ".so"]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700

    def compile_again(*_: object) -> None:
        raise AssertionError("compiled a second time")

    monkeypatch.setattr(build, "_compile", compile_again)
    fresh()


@needs_compiler
def test_other_options_make_another_library(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    monkeypatch.setattr(build, "_OPTIONS", (*build._OPTIONS, "-g0"))
    fresh()
    assert len(list(cache.glob("*.so"))) == 2


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
    assert sorted(path.suffix for path in cache.iterdir()) == [".sha256", ".so"]


def plant(path: Path, content: bytes) -> None:
    """Put a library and its right checksum in the cache."""
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())


def without_symbols(path: Path) -> bytes:
    """Compile a library that has no function of ours, but says that it was loaded."""
    source = path / "planted.c"
    source.write_text(
        f'#include <stdio.h>\n__attribute__((constructor)) void f(void) {{ fclose(fopen("{path}/loaded", "w")); }}'
    )
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(path / "planted.so")], check=True)
    return (path / "planted.so").read_bytes()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed tail": lambda path: path.write_bytes(path.read_bytes()[:5000] + bytes(5000)),
    "bit": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"?" + path.read_bytes()[-8:]),
    "checksum gone": lambda path: path.with_suffix(".sha256").unlink(),
    "checksum of another": lambda path: path.with_suffix(".sha256").write_text("0" * 64),
    "checksum no text": lambda path: path.with_suffix(".sha256").write_bytes(b"\xff\x00"),
    "writable by others": lambda path: path.chmod(0o666),
    "checksum writable by others": lambda path: path.with_suffix(".sha256").chmod(0o666),
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_built_anew(cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    fresh()
    (made,) = cache.glob("*.so")
    before = made.read_bytes()
    # What a process has loaded must not change under it.
    made.rename(made.with_suffix(".loaded"))
    made.write_bytes(before)
    made.chmod(0o700)
    DAMAGES[damage](made)
    compiled: list[Path] = []
    compile_ = build._compile

    def noted(compiler: str, path: Path) -> None:
        compiled.append(path)
        compile_(compiler, path)

    monkeypatch.setattr(build, "_compile", noted)
    fresh()
    assert compiled == [made]
    assert made.read_bytes() == before
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("other", ["library", "checksum"])
def test_another_users_library_is_never_loaded(cache: Path, tmp_path: Path, other: str) -> None:
    fresh()
    (made,) = cache.glob("*.so")
    made.unlink()
    plant(made, without_symbols(tmp_path))
    os.chown(made if other == "library" else made.with_suffix(".sha256"), 12345, 12345)
    fresh()
    assert not (tmp_path / "loaded").exists()


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_is_not_used(cache: Path) -> None:
    fresh()
    os.chown(cache, 12345, 12345)
    with pytest.raises(
        UnavailableError, match="belongs to another user: name a folder of your own with XDG_CACHE"
    ):
        fresh()


@needs_compiler
def test_a_link_is_never_loaded(cache: Path, tmp_path: Path) -> None:
    fresh()
    (made,) = cache.glob("*.so")
    planted = without_symbols(tmp_path)
    made.unlink()
    plant(made, planted)
    made.unlink()
    made.symlink_to(tmp_path / "planted.so")
    fresh()
    assert not (tmp_path / "loaded").exists()


@needs_compiler
def test_a_folder_that_others_could_write_to_becomes_private(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    fresh()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("printf garbage", "invalid ELF header|file too short"),
        ('"$real" -shared -x c /dev/null', "undefined symbol"),
        ("printf '\\377\\376 no' >&2; exit 1", "no"),
        ("kill -9 $$", "SIGKILL|-9"),
    ],
    ids=["garbage", "without symbols", "message in no encoding", "killed"],
)
@needs_compiler
def test_a_broken_compiler_leaves_nothing_and_ends_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, reason: str
) -> None:
    broken, real = tmp_path / "cc", shutil.which("cc")
    broken.write_text(
        f'#!/bin/sh\nreal={real}\nif [ "$1" = --version ]; then echo broken; exit 0; fi\n'
        'while [ $# -gt 0 ]; do if [ "$1" = -o ]; then out=$2; fi; shift; done\n'
        + (f'{output} -o "$out"\n' if "$real" in output else f'{output} > "$out"\n')
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(UnavailableError, match=f"cannot compile the kernels .*({reason})"):
        fresh()
    assert list(cache.iterdir()) == []


def test_a_user_without_a_home_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(
        InputError, match=r"no home folder to keep a cache in: name one with .* XDG_CACHE_HOME"
    ):
        cache_folder()
    if has_kernels():
        with pytest.raises(UnavailableError, match="no home folder"):
            fresh()
