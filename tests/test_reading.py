"""The one way in for files, whose every error is a sentence; outputs that would destroy an input."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datacondense.errors import InputError
from datacondense.files import (
    read_json,
    reading,
    refuse_existing,
    refuse_own_input,
    replacing_folder,
    write_text,
)


@pytest.mark.parametrize("out", ["set", "set/deeper/..", ".", "link"])
def test_output_that_is_or_holds_an_input_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "set" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with pytest.raises(InputError, match=r"is or holds .*set, which is read: give another --out"):
        refuse_own_input(tmp_path / out, tmp_path / "set")
    refuse_own_input(tmp_path / "set" / "deeper", tmp_path / "set")
    refuse_own_input(tmp_path / "other", tmp_path / "set", tmp_path / "missing")


@pytest.mark.parametrize(
    "error", [ValueError("what"), MemoryError(), RecursionError("deep"), zlib.error("bad"), SyntaxError("x")]
)
def test_whatever_a_parser_raises_becomes_one_sentence(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "a.bin"
    path.touch()
    why = str(error) or type(error).__name__
    with (
        pytest.raises(InputError, match=f"a.bin cannot be read as a list \\({why}\\): write it anew."),
        reading(path, "a list", "write it anew"),
    ):
        raise error


def test_panic_of_a_parser_in_another_language_becomes_a_sentence_but_ctrl_c_does_not(tmp_path: Path) -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(InputError, match="cannot be read as a list"), reading(tmp_path / "a", "a list", "no"):
        raise panic("index out of range")
    with pytest.raises(KeyboardInterrupt), reading(tmp_path / "a", "a list", "no"):
        raise KeyboardInterrupt


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "pipe is a folder, a pipe or a device, but JSON is a file: give its path"),
        (tmp_path, "is a folder, a pipe or a device"),
        (tmp_path / "missing", "There is no file .*missing: check the path"),
        (tmp_path / "a\0b", "cannot be read as JSON"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(path, dict[str, Any], "JSON", "write it anew")


def test_json_is_checked_as_soon_as_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, reason in (
        ('{"n": "one"}', r"Expected `int`, got `str` - at `\$\[...\]`"),
        ("[" * 100_000, "recursion"),
        ('{"n": 1', "Expecting"),
        ("", "Expecting value"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"a.json cannot be read as numbers \\(.*{reason}"):
            read_json(path, dict[str, int], "numbers", "write it anew")
    path.write_text('{"n": 1}')
    assert read_json(path, dict[str, int], "numbers", "write it anew") == {"n": 1}


def test_names_that_no_file_has_are_refused(tmp_path: Path) -> None:
    nul = tmp_path / "a\0b"
    writes: list[Callable[[], None]] = [
        lambda: write_text(nul, "x"),
        lambda: refuse_own_input(nul, tmp_path),
        lambda: refuse_own_input(tmp_path, nul),
        lambda: refuse_own_input(tmp_path / "\ud800", tmp_path),
        lambda: refuse_own_input(tmp_path, tmp_path / "\ud800"),
        lambda: write_text(tmp_path / "\ud800", "x"),
        lambda: refuse_existing(tmp_path / ("a" * 400), force=False),
    ]
    for write in writes:
        with pytest.raises(
            InputError, match=r"cannot be the name of a file|cannot be written \(File name too long\)"
        ):
            write()
    with pytest.raises(InputError, match="cannot be the name of a file"), replacing_folder(nul):
        pass


def test_an_error_in_a_file_of_a_strange_but_possible_name_keeps_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "a\u00a0b").mkdir()
    with pytest.raises(InputError, match="is a folder or a device and cannot be replaced by a file"):
        write_text(tmp_path / "a\u00a0b", "x")
