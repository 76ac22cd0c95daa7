"""Standard output and error in encodings that lack some letters, and letters that a terminal obeys."""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.main import COMMANDS, _show_warning, main
from datacondense.cli.streams import prepare_streams
from datacondense.evaluation.protocol import EvaluationConfig
from tests.conftest import make_set

ENCODINGS = ["ascii", "latin-1", "cp1252", "cp437", "cp932"]
PRINTED = "8×8, 50.00 ± 1.00 %, passes ς, dims – “quoted” \u2018so\u2019 …, ≥ 1, ─│╭╮└├╴╵ → ²³"
NASTY = "cat\x1b]0;owned\x07\x1b[2J\r\u202egod\udcff"


@contextmanager
def encoded(monkeypatch: pytest.MonkeyPatch, encoding: str) -> Iterator[list[str]]:
    """Let standard output and error have an encoding, as PYTHONIOENCODING does; fill in what they were given."""
    streams = [io.BytesIO(), io.BytesIO()]
    found: list[str] = []
    with monkeypatch.context() as changed:
        for name, stream, errors in zip(
            ("stdout", "stderr"), streams, ("strict", "backslashreplace"), strict=True
        ):
            changed.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding, errors=errors))
        yield found
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            getattr(sys, name).flush()
            found.append(stream.getvalue().decode(encoding))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache for all encodings."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_every_encoding(command: str, own_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", own_cache)
    shown: dict[str, str] = {}
    for encoding in [*ENCODINGS, "utf-8", *ENCODINGS]:
        with encoded(monkeypatch, encoding) as said:
            assert main([command, "--help"]) == 0
        assert said[0].startswith(f"usage: datacondense {command}")
        assert said[1] == ""
        shown.setdefault(encoding, said[0])
        assert said[0] == shown[encoding]  # what was kept is the text, not one encoding of it
    assert shown["ascii"].isascii()
    assert "--output.quiet" not in shown["utf-8"]
    if command in {"demo", "condense", "evaluate", "show", "export", "info"}:
        assert "--quiet" in shown["utf-8"]
    if command == "condense":
        assert "normalised pixel units" in " ".join(shown["utf-8"].replace("│", " ").split())
        assert "two steps, ς." in " ".join(shown["utf-8"].split())
        assert "two steps, s." in " ".join(shown["ascii"].split())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sentences_notes_and_warnings_are_printed_in_letters_that_there_are(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with encoded(monkeypatch, encoding) as said:
        prepare_streams()
        printer = Printer(Output())
        printer.say(PRINTED)
        printer.note(PRINTED)
        with printer.ticker("job") as tick:
            tick(1, 1, PRINTED)
    out, err = said
    assert out.splitlines()[0] == err.splitlines()[0]
    assert err.splitlines()[1] == f"job: {out.splitlines()[0]}"
    if encoding == "ascii":
        assert out == "8x8, 50.00 +- 1.00 %, passes s, dims - \"quoted\" 'so' ..., >= 1, -|++++-| -> ^2^3\n"


def test_what_has_no_plain_form_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    with encoded(monkeypatch, "latin-1") as said:
        prepare_streams()
        sys.stdout.write("Größe 猫 \udcff\n")
    assert said[0] == "Größe \\u732b \\udcff\n"


def write(folder: Path, *class_names: str) -> Path:
    """Write a tiny data set with names of its classes."""
    train, test = make_set(), make_set(seed=5)
    np.savez(
        folder / "named.npz",
        x_train=train.images[:, 0].numpy(),
        y_train=train.labels.numpy(),
        x_test=test.images[:, 0].numpy(),
        y_test=test.labels.numpy(),
        class_names=np.array(class_names),
    )
    return folder / "named.npz"


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_results_are_printed(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacondense.cli.demo.EvaluationConfig", partial(EvaluationConfig, epochs=2))
    data, run = str(write(tmp_path, "猫", "Größe", "c")), str(tmp_path / "größe")
    tiny = ["--network", "mlp", "--device", "cpu", "--threads", "1"]
    commands = [
        ["condense", data, "--out", run, "--iterations", "2", "--real-batch", "4", *tiny],
        ["evaluate", run, "--on", data, "--repeats", "2", "--epochs", "2", *tiny],
        ["info", run],
        ["export", run, "--format", "npz", "--out", str(tmp_path / "export")],
        ["demo", "--iterations", "1", "--repeats", "2", "--out", str(tmp_path / "demo")],
        ["study", "cross-architecture", "digits", "--dry-run", "--out", str(tmp_path / "–"), "--rows", "×"],
    ]
    with encoded(monkeypatch, encoding) as said:
        codes = [main(command) for command in commands]
    assert codes == [0, 0, 0, 0, 0, 2]
    pixels, plus_minus = ("8x8", "+-") if encoding == "ascii" else ("8×8", "±")  # which are in cp932
    assert f"{pixels} pixels" in said[0]
    assert f" {plus_minus} " in said[0]
    assert "Gro" in said[0].replace("\\xf6\\xdf", "o")


def test_a_process_with_an_encoding_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "datacondense", "study", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "cp437", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert b"from seeds 0, 1, ...;" in b" ".join(done.stdout.split())
    assert done.stderr == b""


def test_no_letter_of_a_name_is_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "set.safetensors"
    replace(make_set(), class_names=(NASTY.replace("\udcff", ""), "b", "c")).save(path)
    assert main(["info", str(path)]) == 0
    assert main(["evaluate", str(path), "--on", "digits"]) == 2
    assert main(["condense", "x\x1b[2J" + "y" * 100_000, "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(SystemExit):
        main(["condense", "digits", "--out", "x", "--nonsense\x1b[2J"])
    said = capsys.readouterr()
    assert "cat\\x1b]0;owned\\x07\\x1b[2J\\r\\u202egod" in said.out
    for text in said:
        assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert len(said.err) < 10_000


def test_printer_progress_and_warnings_escape(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Output())
    printer.say(NASTY)
    printer.note(f"{NASTY} :cat: [bold]")
    with printer.ticker(NASTY) as tick:
        tick(1, 1, NASTY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show_warning
        warnings.warn(NASTY + "long " * 10_000, stacklevel=1)
    said = capsys.readouterr()
    name = "cat\\x1b]0;owned\\x07\\x1b[2J\\r\\u202egod\\udcff"
    assert said.out == f"{name}\n"
    note, progress, warning = said.err.splitlines()
    shortened = name.replace("\\r", " ")  # one line
    assert note == f"{shortened} :cat: [bold]"
    assert progress == f"{shortened}: {shortened}"
    assert warning.startswith(f"Note: {shortened}long long ")
    assert len(warning) < 2_000
