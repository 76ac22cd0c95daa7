"""`datacondense select` in process: its file, its sentences, its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacondense.cli.main import main
from datacondense.cli.select import reporter
from datacondense.data.sources import load
from datacondense.image_set import ImageSet
from datacondense.selection.full_tasks import TrainFull
from datacondense.selection.k_center import select_k_center
from datacondense.selection.random import select_random
from datacondense.tasks.scheduler import StudyProgress
from tests.conftest import make_set

TINY = ["--network", "mlp", "--epochs", "1", "--device", "cpu", "--threads", "1"]


def write(path: Path, *, test: bool = True) -> str:
    """Write a tiny data set."""
    train, held = make_set(), make_set(seed=5)
    more = {"x_test": held.images[:, 0].numpy(), "y_test": held.labels.numpy()} if test else {}
    np.savez(path, x_train=train.images[:, 0].numpy(), y_train=train.labels.numpy(), **more)  # type: ignore[arg-type]
    return str(path)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny data set with test images, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path / "tiny.npz")


def test_from_a_data_set_to_a_score(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chosen.safetensors"
    command = ["select", dataset, "--method", "forgetting", "--ipc", "2", "--out", str(out), *TINY]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "First mlp is trained on the 36 training images of " in said.err
    assert ", 1 epochs: about 1 s. It is kept in " in said.err
    assert str(tmp_path / "cache/datacondense/cells") in said.err
    assert "select: 2 of 2 steps done" in said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("6 images (2 for each of 3 classes) selected by forgetting in ")
    assert lines[0].endswith(f": {out}")
    assert lines[1] == f"Score it:   datacondense evaluate {out} --on {dataset}"
    assert lines[2] == f"Look at it: datacondense show {out} --out {tmp_path / 'chosen.png'}"
    before = out.read_bytes()

    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"datacondense: {out} exists: give another --out, or --force to replace it.\n"
    )
    assert main([*command, "--force", "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    record = json.loads(said.out)
    assert record["result"] == str(out)
    assert record["fingerprint"] == ImageSet.load(out).fingerprint
    assert record["provenance"] == ImageSet.load(out).provenance
    assert record["provenance"]["trained"]["network"] == "mlp"
    assert record["seconds"] > 0
    assert out.read_bytes() == before

    assert main([*command, "--force"]) == 0
    assert "is trained" not in capsys.readouterr().err  # it was, once and for all

    score = ["evaluate", str(out), "--on", dataset, "--repeats", "2", "--epochs", "2", "--device", "cpu"]
    assert main([*score, "--network", "mlp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained_on"] == record["fingerprint"]


def test_random_images_of_a_data_set_without_test_images(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write(tmp_path / "untested.npz", test=False), tmp_path / "chosen.safetensors"
    assert main(["select", source, "--method", "random", "--ipc", "3", "--seed", "4", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "Score it" not in said.out
    assert "Look at it" in said.out
    assert "is trained" not in said.err
    expected = select_random(load(source).train, 3, 4)
    assert ImageSet.load(out).provenance == expected.provenance
    assert ImageSet.load(out).fingerprint == expected.fingerprint


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_own_features(dataset: str, tmp_path: Path, dtype: str) -> None:
    out, path = tmp_path / "chosen.safetensors", tmp_path / "features.npy"
    train = load(dataset).train
    features = train.pixels().flatten(1)
    np.save(path, features.numpy().astype(dtype))
    command = ["select", dataset, "--method", "k-center", "--ipc", "4", "--features", str(path)]
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    expected = select_k_center(train, 4, features)
    assert ImageSet.load(out).fingerprint == expected.fingerprint
    assert ImageSet.load(out).provenance == {**expected.provenance, "features": {"file": str(path)}}
    assert not (tmp_path / "cache").exists()


def test_ctrl_c_ends_with_130_and_says_how_to_continue(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(task: TrainFull, place: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainFull, "run", stopped)
    out = tmp_path / "chosen.safetensors"
    assert main(["select", dataset, "--method", "herding", "--out", str(out), *TINY]) == 130
    assert "Stopped. Run the same command again to continue." in capsys.readouterr().err
    assert not out.exists()


class Intruder:
    """Fails the test where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


def pickled(path: Path) -> None:
    """Write an array of objects, which NumPy pickles."""
    np.save(path, np.array([Intruder()], dtype=object), allow_pickle=True)


def zipped(path: Path) -> None:
    """Write several arrays into one file."""
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def cut(path: Path) -> None:
    """Write an array and lose its end."""
    np.save(path, np.zeros((36, 4)))
    path.write_bytes(path.read_bytes()[:-8])


UNREADABLE: list[Callable[[Path], None]] = [
    pickled,
    zipped,
    cut,
    Path.touch,
    Path.mkdir,
    lambda path: np.save(path, np.array(["a"])),
]


@pytest.mark.parametrize("make", UNREADABLE)
def test_files_that_hold_no_numbers(
    make: Callable[[Path], None], dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "features.npy", tmp_path / "x.safetensors"
    make(path)
    command = ["select", dataset, "--method", "herding", "--features", str(path), "--out", str(out)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"datacondense: {path} ")
    assert "an array of numbers" in said
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "herding", "--ipc", "13"], "ipc is 13, but the class '0' has 12 images to select from"),
        (["--method", "herding", "--epochs", "0"], "epochs is 0, but must be 1 or more"),
        (["--method", "herding", "--network", "convnt"], "convnt"),
        (
            ["--method", "random", "--features", "{tmp}/f.npy"],
            "--features applies only to herding and k-center, not random: leave it out",
        ),
        (["--method", "forgetting", "--features", "{tmp}/f.npy"], "give --method herding or k-center"),
        (["--method", "k-center", "--features", "{tmp}/f.npy"], "There is no file {tmp}/f.npy"),
        (["--method", "random", "--selections", "{data}"], "cannot be written"),
        (
            ["--method", "random", "--out", "{tmp}/folder"],
            "{tmp}/folder is a folder, but a file is to be written",
        ),
        (
            ["--method", "random", "--out", "{tmp}"],
            "{tmp} is or holds {data}, which is read: give another --out",
        ),
        (["--method", "random", "--out", "{data}", "--force"], "{data} is or holds {data}, which is read"),
        (
            ["--method", "herding", "--features", "{tmp}/own.npy", "--out", "{tmp}/own.npy", "--force"],
            "{tmp}/own.npy is or holds {tmp}/own.npy, which is read",
        ),
    ],
)
def test_wrong_input_gets_one_sentence_and_exit_code_2(
    options: list[str],
    message: str,
    dataset: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained(task: TrainFull, place: Any) -> Any:
        raise AssertionError("trained before it was refused")

    monkeypatch.setattr(TrainFull, "run", trained)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "own.npy", np.zeros((36, 4)))
    filled = [option.format(tmp=tmp_path, data=dataset) for option in options]
    assert main(["select", dataset, "--out", str(tmp_path / "x"), *filled]) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert message.format(tmp=tmp_path, data=dataset) in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert np.load(tmp_path / "own.npy").shape == (36, 4)


def test_the_ticker_shows_the_share_of_the_expected_seconds() -> None:
    shown: list[tuple[float, float, str]] = []
    report = reporter(lambda *what: shown.append(what), 60.0)
    progress = StudyProgress(total=3, done=0, failed=0, running=1, seconds=15.0, seconds_left=None)
    report(progress)
    report(progress._replace(seconds=80.0))
    report(progress._replace(done=3, seconds=90.0))
    report(progress._replace(total=0, seconds=1.0))
    assert shown == [
        (15.0, 60.0, "0 of 3 steps done, 15 s of about 1 min 00 s"),
        (80.0, 81.0, "0 of 3 steps done, 1 min 20 s of about 1 min 00 s"),
        (90.0, 90.0, "3 of 3 steps done, 1 min 30 s"),
    ]
