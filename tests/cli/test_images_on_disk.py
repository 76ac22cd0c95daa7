"""The commands on images that lie decoded in the cache: --cache changes where images are, and nothing else."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from datacondense.cli.main import main
from datacondense.condensation.method import MethodConfig
from datacondense.data import image_store
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import make_set
from tests.data.made_files import pictures, write_folder

DM = ["--method", "dm", "--network", "mlp", "--siamese", "none", "--real-batch", "4", "--budget", "published"]
SHORT = ["--device", "cpu", "--threads", "1"]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of two classes, and a cache with files of five images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_store, "_MOST_ROWS", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    root = tmp_path / "images"
    for split in ("train", "test"):
        for seed, name in enumerate(("cat", "dog")):
            write_folder(root / split, {name: pictures(9, colour=True, seed=seed, size=8)})
    return str(root)


def results(command: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> list[bytes]:
    """Return what a command writes with the images in memory, and with them on disk."""
    found = []
    for name, options in (("memory", []), ("disk", ["--cache"])):
        to = out / name / command[0]
        assert main([*command, "--out", str(to), *options, *SHORT]) == 0, capsys.readouterr().err
        found.append((to / "condensed.safetensors" if to.is_dir() else to).read_bytes())
    return found


def test_a_condensed_set_has_the_same_bytes(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, disk = results(["condense", images, *DM, "--iterations", "3"], tmp_path, capsys)
    assert disk == memory
    said = capsys.readouterr()
    assert "decoding: 18 of 18 images, " in said.err
    assert f"--on {images} --cache" in said.out
    run = [str(tmp_path / "disk/condense"), "--cache", *DM, *SHORT]
    assert main(["condense", images, "--out", *run, "--iterations", "5", "--resume"]) == 0
    assert "decoding" not in capsys.readouterr().err
    settings = json.loads((tmp_path / "disk/condense/settings.json").read_text())
    assert "cache" not in json.dumps(settings)


def test_selections_and_scores_are_the_same(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("herding", "forgetting"):
        command = ["select", images, "--method", method, "--ipc", "2", "--network", "mlp", "--epochs", "1"]
        memory, disk = results(command, tmp_path / method, capsys)
        assert disk == memory
    scores = []
    for options in ([], ["--cache"]):
        file = str(tmp_path / "herding/disk/select")
        network = ["--network", "mlp", "--epochs", "2", "--repeats", "2", "--json"]
        assert main(["evaluate", file, "--on", images, *network, *options, *SHORT]) == 0
        scores.append(json.loads(capsys.readouterr().out.splitlines()[-1])["accuracies"])
    assert scores[0] == scores[1]


def test_the_folder_of_selections_has_had_another_name(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, given in enumerate((["--cache", str(tmp_path / "kept")], [f"--cache={tmp_path / 'kept'}"])):
        out = str(tmp_path / f"{number}.safetensors")
        assert main(["select", images, "--method", "random", "--out", out, *given, *SHORT]) == 0
        assert "--cache is now --selections" in capsys.readouterr().err
    assert not (tmp_path / "cache/datacondense/images").exists()


def test_the_network_follows_the_size_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images of 64 pixels, unless it is named."""
    train = make_set(num_classes=2, per_class=2, shape=(1, 64, 64))
    np.savez(tmp_path / "large.npz", x_train=train.images[:, 0].numpy(), y_train=train.labels.numpy())
    seen: list[object] = []

    def stop(_: ImageSet, settings: MethodConfig, *__: object, **___: object) -> None:
        seen.append(settings.network)
        raise InputError("stopped")

    monkeypatch.setattr("datacondense.cli.condense.condense", stop)
    choices: tuple[list[str], ...] = (
        [],
        ["--network", "convnet"],
        ["--network", "convnet-w8"],
        ["--resize", "32"],
    )
    for number, given in enumerate(choices):
        for budget in ("fast", "published"):
            out = str(tmp_path / f"{number}-{budget}")
            options = [
                "--method",
                "dm",
                "--iterations",
                "1",
                "--budget",
                budget,
                "--out",
                out,
                *given,
                *SHORT,
            ]
            assert main(["condense", str(tmp_path / "large.npz"), *options]) == 2
    assert seen == ["convnet-d4"] * 2 + ["convnet"] * 2 + ["convnet-w8"] * 2 + ["convnet"] * 2
