"""Help comes at once: the libraries that take a second to load are left alone until a subcommand needs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datacondense.cli.help import print_help
from datacondense.cli.main import COMMANDS, main

SLOW = {"torch", "datasets", "pyarrow", "sklearn", "PIL", "tyro", "scipy", "matplotlib"}


def loaded(*arguments: str, cache: Path) -> tuple[str, set[str]]:
    """Run a fresh interpreter; return what it printed and the top-level packages that it loaded."""
    command = [sys.executable, "-X", "importtime", *arguments]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    modules = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return done.stdout, {module.partition(".")[0] for module in modules}


def test_help_loads_nothing_slow(tmp_path: Path) -> None:
    said, packages = loaded("-m", "datacondense", "--help", cache=tmp_path)
    assert said.startswith("usage: datacondense")
    assert all(f"  {command} " in said for command in COMMANDS)
    assert not SLOW & packages
    assert not list(tmp_path.iterdir())


def test_importing_the_package_loads_nothing_slow(tmp_path: Path) -> None:
    _, packages = loaded("-c", "import datacondense; datacondense.InputError", cache=tmp_path)
    assert "datacondense" in packages
    assert not SLOW & packages


def test_help_of_a_subcommand_is_slow_once(tmp_path: Path) -> None:
    arguments = ("-m", "datacondense", "condense", "--method", "dm", "--help")
    first, packages = loaded(*arguments, cache=tmp_path)
    assert first.startswith("usage: datacondense condense")
    assert "--siamese" in first
    assert {"torch", "tyro"} <= packages
    second, packages = loaded(*arguments, cache=tmp_path)
    assert second == first
    assert not SLOW & packages


def test_help_is_kept_and_has_a_short_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["info", "--help"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("usage: datacondense info")
    assert main(["info", "-h"]) == 0
    assert main(["info", "--help"]) == 0
    assert capsys.readouterr().out == 2 * first


def test_help_is_shown_anew_when_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = []

    def show(text: str) -> None:
        shown.append(text)
        sys.stdout.write(f"{text}\n")

    print_help(["condense"], lambda: show("one"))
    print_help(["condense"], lambda: show("never"))
    print_help(["export"], lambda: show("two"))
    monkeypatch.setenv("COLUMNS", "40")
    print_help(["condense"], lambda: show("narrow"))
    monkeypatch.setattr("datacondense.cli.help._PACKAGE", tmp_path)
    (tmp_path / "module.py").touch()
    print_help(["condense"], lambda: show("edited"))
    assert shown == ["one", "two", "narrow", "edited"]
    assert capsys.readouterr().out == "one\none\ntwo\nnarrow\nedited\n"


def test_a_complaint_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        print_help(["condense"], lambda: sys.exit(2))
    assert not list(tmp_path.rglob("*"))


def test_a_cache_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "datacondense").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        print_help(["condense"], lambda: sys.stdout.write("help\n"))
    assert capsys.readouterr().out == "help\nhelp\n"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_an_unknown_command_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["condence"]) == 2
    assert "There is no command 'condence': choose from demo, condense," in capsys.readouterr().err
