import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datacondense.cli.main import main
from datacondense.data.exports import load_export
from datacondense.data.sources import load
from datacondense.data.whitening import whitened
from datacondense.image_set import ImageSet
from datacondense.reports.grid import plot_grid
from tests.data.made_published import IMAGES, LABELS, MALICIOUS, RATE, ROWS, pair, runs, tensors

FAST = ["--repeats", "1", "--network", "mlp", "--epochs", "1", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Go to an empty folder with a data set in it."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(30) % 3
    np.savez("real.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    return "real.npz"


def printed_score(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the command that was printed, without the program."""
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Score it:"))
    return line.split()[3:]


@pytest.mark.parametrize("write", MALICIOUS)
def test_no_code_of_a_file_is_run(
    write: Callable[[Path], Path], real: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "res_DC.pt")
    assert main(["import", str(path), "--on", real]) == 2
    error = capsys.readouterr().err
    assert error.startswith("datacondense: ")
    assert error.count("\n") == 1
    assert not Path("intruded").exists()
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_is_printed_can_be_run(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs(Path("res_DSA_made_ConvNet_2ipc.pt"))
    assert main(["import", "res_DSA_made_ConvNet_2ipc.pt", "--on", real]) == 0
    said = capsys.readouterr().out
    assert "6 images (2 for each of 3 classes)" in said
    assert "The file says: ConvNet 50.00% ± 25.00% (n = 2)" in said
    command = next(line for line in said.splitlines() if line.startswith("Score it:")).split()[3:]
    assert command == ["evaluate", "res_DSA_made_ConvNet_2ipc.safetensors", "--on", real]
    assert main([*command, *FAST]) == 0
    assert "augmentation dsa:" in capsys.readouterr().out


def test_a_whitened_set_with_a_learned_rate(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    tensors(Path("datm"), ROWS, torch.tensor(RATE, dtype=torch.float64))
    assert main(["import", "datm", "--on", real, "--out", "set.safetensors"]) == 0
    command = printed_score(capsys)
    assert command == ["evaluate", "set.safetensors", "--on", real]
    assert main([*command, *FAST]) == 0
    said = capsys.readouterr().out
    assert "soft labels" in said
    assert f"learning rate {RATE:g}" in said


def test_what_a_file_does_not_say_is_said(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    tensors(Path("mtt"))
    assert main(["import", "mtt", "--on", real, "--no-zca"]) == 0
    assert "is in none of the files: give --learning-rate" in capsys.readouterr().err
    assert main(["import", "mtt", "--on", real, "--no-zca", "--learning-rate", "0.1", "--force"]) == 0
    assert not capsys.readouterr().err


def test_a_set_of_idc_is_scored_as_published(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    pair(Path("data_best.pt"))
    assert main(["import", "data_best.pt", "--on", real, "--factor", "2"]) == 0
    command = printed_score(capsys)
    assert main([*command, *FAST]) == 0
    said = capsys.readouterr().out
    assert "augmentation idc:color-crop-cutout-flip-scale-rotate with CutMix 0.5, batches of 64" in said


def test_a_whitened_set_is_plotted_and_exported(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    train = load(real).train
    once = whitened(train, train)
    once.save("set.safetensors")
    assert main(["show", "set.safetensors", "--out", "a.png"]) == 0
    assert "The set is whitened and plotted so" in capsys.readouterr().err
    assert main(["show", "set.safetensors", "--out", "b.png", "--on", real]) == 0
    plot_grid(train, Path("c.png"))
    assert Path("b.png").read_bytes() == Path("c.png").read_bytes() != Path("a.png").read_bytes()
    assert main(["export", "set.safetensors", "--format", "npz", "--out", "out"]) == 2
    assert "whitened, so its numbers are no pixels: give --on" in capsys.readouterr().err
    assert main(["export", "set.safetensors", "--format", "npz", "--out", "out", "--on", real]) == 0
    rounded, _ = load_export(Path("out"))
    assert torch.equal(rounded.images, train.images)


def test_every_run(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs(Path("res_DC.pt"))
    assert main(["import", "res_DC.pt", "--on", real, "--all-runs", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["runs"], record["run"], record["set"]) == (2, 1, "res_DC-run1.safetensors")
    train = load(real).train
    for run in range(2):
        found = ImageSet.load(f"res_DC-run{run}.safetensors")
        torch.testing.assert_close(found.images, (IMAGES + run) * train.std[0] + train.mean[0])
        assert torch.equal(found.labels, LABELS)
    assert main(["import", "res_DC.pt", "--on", real, "--all-runs"]) == 2
    assert "res_DC-run0.safetensors exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["x.pt", "--on", "real.npz"], "There is no file x.pt"),
        (["x.pt", "--on", "real.npz", "--zca", "--no-zca"], "contradict each other"),
        (["--on", "real.npz"], "No file is given"),
        (["res_DC.pt", "--on", "real.npz", "--all-runs", "--out", "."], ". is a folder, but a file is to be"),
        (
            ["res_DC.pt", "--on", "real.npz", "--out", "res_DC.pt", "--force"],
            "is or holds res_DC.pt, which is read",
        ),
    ],
)
def test_wrong_options(
    options: list[str], sentence: str, real: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(Path("res_DC.pt"))
    assert main(["import", *options]) == 2
    assert sentence in capsys.readouterr().err
