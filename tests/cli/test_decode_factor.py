"""Several images in each stored one, and labels of a teacher: the whole way on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from datacondense.cli.main import main
from datacondense.image_set import ImageSet
from datacondense.reports.grid import plot_grid
from tests.cli.test_select import write

QUICK = ["--device", "cpu", "--quiet"]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny data set with test images, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write(tmp_path / "tiny.npz")


def test_the_whole_way(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    options = [
        "--method",
        "dm",
        "--network",
        "mlp",
        "--iterations",
        "2",
        "--real-batch",
        "4",
        "--factor",
        "2",
    ]
    options += ["--ipc-of", "1=2", "--soft-labels", "mlp", "--temperature", "2"]
    assert main(["condense", dataset, "--out", str(out), *options, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "4 images (1 to 2 for each of 3 classes, 4 decoded from each) after 2 iterations" in said.out
    assert "First mlp is trained on the 36 training images" in said.err
    images = ImageSet.load(out / "condensed.safetensors")
    assert images.targets.shape == (16, 3)

    assert main(["info", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["set"]
    assert facts["stored numbers"] == 4 * 64 + 16 * 3
    assert (facts["images"], facts["decoded images"], facts["labels"]) == (4, 16, "soft")

    score = [
        "evaluate",
        str(out),
        "--on",
        dataset,
        "--network",
        "mlp",
        "--repeats",
        "1",
        "--epochs",
        "2",
        "--json",
    ]
    for given, learned, heat in (([], "soft", 2.0), (["--labels", "hard"], "hard", 1.0)):
        assert main([*score, *given, "--device", "cpu"]) == 0
        protocol = json.loads(capsys.readouterr().out)["protocol"]
        assert protocol.get("labels") == learned
        assert protocol.get("temperature", 1.0) == heat

    assert main(["export", str(out), "--format", "npz", "--out", str(tmp_path / "npz"), "--quiet"]) == 0
    assert (
        main(["export", str(out), "--format", "npz", "--out", str(tmp_path / "st"), "--stored", "--quiet"])
        == 0
    )
    for name, number in (("npz", 16), ("st", 4)):
        with np.load(tmp_path / name / "images.npz") as arrays:
            assert len(arrays["images"]) == number


def test_show_plots_stored_images_or_decoded_ones(dataset: str, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    select = ["select", dataset, "--method", "random", "--factor", "2", "--out", str(out)]
    assert main([*select, *QUICK]) == 0
    images = ImageSet.load(out)
    for shown, options in ((images, []), (images.decoded(), ["--decoded"])):
        path, expected = tmp_path / "shown.png", tmp_path / "expected.png"
        assert main(["show", str(out), "--out", str(path), "--force", "--quiet", *options]) == 0
        plot_grid(shown, expected)
        assert path.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--factor", "9"], "factor is 9, but images of 8×8 pixels can be cut into 1 to 8 tiles a side"),
        (
            ["--ipc-of", "cow=2"],
            "ipc_of names the class 'cow', but the classes are 0, 1, 2: give names of these",
        ),
        (["--ipc-of", "1=0"], "ipc_of is 0 for the class '1', but must be a whole number from 1 on"),
        (["--factor", "4"], "ipc is 1 of 16 tiles, but the class '0' has only 12 images to start from"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    command = ["condense", dataset, "--method", "dm", "--network", "mlp", "--budget", "published"]
    assert main([*command, "--out", str(tmp_path / "run"), *options, *QUICK]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
