"""A user without a home folder and an entry in the list of users, as in some containers."""

from pathlib import Path

import pytest

from datacondense.cli.main import main
from tests.conftest import make_set

TINY = ["--network", "mlp", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(*_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.usefixtures("_no_home")
def test_what_needs_no_cache_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--help"]) == 0
    run, learn = str(tmp_path / "run"), ["--iterations", "1", "--real-batch", "4"]
    assert main(["condense", "digits", "--out", run, *learn, *TINY]) == 0
    assert main(["evaluate", run, "--on", "digits", "--repeats", "1", "--epochs", "1", *TINY]) == 0
    assert main(["info", run]) == 0
    out = str(tmp_path / "x.safetensors")
    cache = ["--selections", str(tmp_path / "cache")]
    assert main(["select", "digits", "--method", "random", "--out", out, *cache]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("_no_home")
@pytest.mark.parametrize(
    "command",
    [
        "select digits --method herding --epochs 1 --network mlp --out {tmp}/x.safetensors",
        "condense ~nobody/data --out {tmp}/x",
        "condense ~/data --out {tmp}/x",
        "condense ~/data.npz --out {tmp}/x",
        "evaluate {tmp}/set.safetensors --on ~/data",
        "condense mnist --data-root ~/mirror --out {tmp}/x",
        "study depth ~/data --out {tmp}/x --backend inline",
        "study depth digits --out ~/x --backend inline",
        "noise digits --out ~nobody/x --backend inline",
    ],
)
def test_what_needs_a_home_gets_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_set().save(tmp_path / "set.safetensors")
    assert main(command.format(tmp=tmp_path).split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert said.count("\n") == 1


@pytest.mark.usefixtures("_no_home")
def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(args: list[str], stop: object) -> None:
        raise RuntimeError("a mistake of this library")

    monkeypatch.setattr("datacondense.cli.main._run", broken)
    with pytest.raises(RuntimeError, match="a mistake of this library"):
        main(["info", "x"])
