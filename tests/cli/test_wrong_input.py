"""Every kind of broken data set and result file, through the command line: one sentence, exit code 2, nothing left."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from datacondense.cli.main import main
from tests.conftest import make_set


def npz(folder: Path, **changes: np.ndarray) -> Path:
    """Write a small data set with something changed."""
    arrays = {"x_train": np.full((12, 8, 8), 7, np.uint8), "y_train": np.arange(12) % 3, **changes}
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]
    return folder / "set.npz"


def image_folder(folder: Path, **classes: int) -> Path:
    """Write a folder of class folders with so many images each."""
    for name, count in classes.items():
        (folder / "set" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("L", (8, 8), 40 * index).save(folder / "set" / name / f"{index}.png")
    return folder / "set"


def corrupt_image(folder: Path) -> Path:
    """Cut one image of a folder short."""
    root = image_folder(folder, cat=3, dog=3)
    (root / "dog" / "1.png").write_bytes((root / "dog" / "1.png").read_bytes()[:40])
    return root


def nan_pixels(folder: Path) -> Path:
    """Write float images with one NaN."""
    images = np.full((12, 8, 8), 0.5, np.float32)
    images[5, 0, 0] = np.nan
    return npz(folder, x_train=images)


DATA: list[tuple[Callable[[Path], Path | str], list[str], str]] = [
    (lambda _: "no-such-set", [], "no-such-set"),
    (lambda folder: folder / "missing", [], "missing"),
    (corrupt_image, [], "1.png"),
    (lambda folder: image_folder(folder, cat=3, dog=0), [], "dog"),
    (lambda folder: image_folder(folder, cat=3), [], "cat"),
    (lambda folder: npz(folder, y_train=np.eye(12)), [], "Labels are"),
    (lambda folder: npz(folder, y_train=np.zeros(12, np.int64)), [], "1 class"),
    (nan_pixels, [], "NaN"),
    (lambda _: "digits", ["--image-column", "picture"], "image"),
]


@pytest.mark.parametrize(("make", "options", "message"), DATA)
def test_broken_data_sets(
    make: Callable[[Path], Path | str],
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = str(make(tmp_path))
    assert main(["condense", source, "--out", str(tmp_path / "out"), "--network", "mlp", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def saved(folder: Path) -> bytes:
    """Give the bytes of a good result."""
    make_set().save(folder / "good.safetensors")
    return (folder / "good.safetensors").read_bytes()


def foreign(folder: Path) -> bytes:
    """Give a safetensors file of some other program."""
    save_file({"weight": np.zeros(3, np.float32)}, folder / "foreign.safetensors")
    return (folder / "foreign.safetensors").read_bytes()


RESULTS: list[tuple[Callable[[Path], bytes], str]] = [
    (lambda folder: saved(folder)[:-10], "cut short"),
    (lambda folder: saved(folder)[:30], "cut short"),
    (lambda _: b"", "cut short"),
    (foreign, "is a safetensors file but not an image set"),
    (lambda _: pickle.dumps({"images": 1}), "is a pickle (as torch.save writes)"),
]


@pytest.mark.parametrize(("content", "message"), RESULTS)
@pytest.mark.parametrize(
    "command",
    [["evaluate", "--on", "digits"], ["show", "--out", "x.png"], ["export", "--format", "npz", "--out", "x"]],
)
def test_broken_result_files(
    content: Callable[[Path], bytes],
    message: str,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "set.safetensors"
    path.write_bytes(content(tmp_path))
    before = {file.name for file in tmp_path.iterdir()}
    assert main([command[0], str(path), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert str(path) in said
    assert message in said
    assert said.count("\n") == 1
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "command",
    [
        "info NAME",
        "info NAME/name",
        "show NAME --out x.png",
        "export NAME --format npz --out x",
        "publish NAME owner/name --to x",
        "evaluate NAME --on digits",
        "evaluate NAME --on digits --standard --label a --out x",
        "import NAME --on digits",
        "report NAME --out x.html",
        "condense digits --out NAME",
        "study depth digits --out NAME",
    ],
)
def test_names_that_no_file_can_have(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.replace("NAME", "x" * 300).split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
