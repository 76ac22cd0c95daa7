"""The commands that are printed for what comes next work as printed."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image

from datacondense.cli.commands import command_line
from datacondense.cli.main import main
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.catalogue import data_options
from datacondense.data.config import DataConfig
from tests.conftest import make_set

TINY = ["--network", "mlp", "--device", "cpu", "--threads", "1"]
LEARN = ["--iterations", "1", "--real-batch", "4"]
QUICK = ["--repeats", "1", "--epochs", "1", "--device", "cpu", "--threads", "1"]
OWN = """
from torch import nn

def flat(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def printed(said: str) -> dict[str, list[str]]:
    """Return the printed commands, without the program, by what they are for."""
    found = re.findall(r"^(Score it|Look at it|What that costs): +datacondense (.*)$", said, re.MULTILINE)
    return {purpose: shlex.split(command) for purpose, command in found}


def folder(path: Path, side: int = 12, test: str | None = "test") -> str:
    """Write images in colour, of several sizes."""
    random = np.random.default_rng(0)
    for split in ("train", *([test] if test else [])):
        for label, name in enumerate(("a cat", "dog")):
            (path / split / name).mkdir(parents=True)
            for index in range(4):
                pixels = random.integers(100 * label, 100 * label + 99, (side + index % 2, side, 3), np.uint8)
                Image.fromarray(pixels).save(path / split / name / f"{index}.png")
    return str(path)


def parquet(path: Path) -> str:
    """Write tables with two columns of labels, and two splits that may be tested on."""
    path.mkdir()
    pixels = [row.tobytes() for row in make_set().images[:, 0].numpy()]
    for name, splits in (("train", 1), ("test", 3), ("held", 2)):
        images = []
        for row in pixels[::splits]:
            Image.frombytes("L", (8, 8), row).save(path / "one.png")
            images.append({"bytes": (path / "one.png").read_bytes(), "path": None})
        (path / "one.png").unlink()
        labels = [index * splits // 12 for index in range(len(images))]
        table = {"image": images, "coarse": labels, "fine label": [f"fine {label}" for label in labels]}
        pq.write_table(pa.table(table), path / f"{name}-00000-of-00001.parquet")
    return str(path)


WAYS: dict[str, tuple[Callable[[Path], str], list[str]]] = {
    "a path with spaces": (lambda path: folder(path / "my 'own' images"), ["--resize", "8"]),
    "grey and small": (folder, ["--resize", "9", "--channels", "1"]),
    "another test split": (lambda path: folder(path, test="held"), ["--resize", "8", "--test-split", "held"]),
    "columns": (parquet, ["--label-column", "fine label", "--image-column", "image", "--test-split", "held"]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", ["condense", "select"])
def test_what_is_printed_after_a_set_is_made(
    command: str,
    way: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make, options = WAYS[way]
    data, out = make(tmp_path / "data"), tmp_path / "the result"
    if command == "condense":
        words = ["condense", data, "--out", str(out), *options, *LEARN, *TINY]
    else:
        out = out.with_suffix(".safetensors")
        words = ["select", data, "--method", "random", "--out", str(out), *options]
    assert main(words) == 0
    commands = printed(capsys.readouterr().out)
    assert main([*commands["Score it"], *QUICK, "--network", "mlp"]) == 0
    assert main(commands["Look at it"]) == 0
    picture = Path(commands["Look at it"][-1])
    assert picture.parent == (out if command == "condense" else tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()

    assert main(["export", str(out), "--format", "npz", "--out", str(tmp_path / "an export")]) == 0
    costs = printed(capsys.readouterr().out)["What that costs"]
    missing = [] if way in {"a path with spaces", "grey and small"} else options  # which no set records
    assert main([*costs, *missing, *QUICK, "--network", "mlp"]) == 0


def test_another_picture_is_named_where_one_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "condensed.png").write_text("mine")
    (tmp_path / "run" / "condensed-1.png").write_text("mine too")
    assert main(["condense", "digits", "--out", str(tmp_path / "run"), *LEARN, *TINY]) == 0
    look = printed(capsys.readouterr().out)["Look at it"]
    assert look[-1] == str(tmp_path / "run" / "condensed-2.png")
    assert main(look) == 0
    assert (tmp_path / "run" / "condensed.png").read_text() == "mine"


def test_without_test_images_there_is_nothing_to_score_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder(tmp_path / "data", test=None), str(tmp_path / "x.safetensors")
    options = ["--resize", "8"]
    assert main(["condense", data, "--out", str(tmp_path / "run"), *options, *LEARN, *TINY]) == 0
    assert main(["select", data, "--method", "random", "--out", out, *options]) == 0
    said = capsys.readouterr().out
    assert "Score it" not in said
    assert said.count("Look at it: ") == 2


def test_unusable_test_images_are_nothing_to_score_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, hidden = make_set(), np.full(36, -1)
    data, out = tmp_path / "hidden.npz", str(tmp_path / "x.safetensors")
    pixels = train.images[:, 0].numpy()
    np.savez(data, x_train=pixels, y_train=train.labels.numpy(), x_test=pixels, y_test=hidden)
    assert main(["condense", str(data), "--out", str(tmp_path / "run"), *LEARN, *TINY]) == 0
    assert main(["select", str(data), "--method", "random", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "Score it" not in said
    assert said.count("Look at it: ") == 2


def test_a_network_of_ones_own_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_printed.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    own = [*LEARN, "--network", "own_printed:flat", "--device", "cpu"]
    assert main(["condense", "digits", "--out", "run", *own]) == 0
    score = printed(capsys.readouterr().out)["Score it"]
    assert score[-2:] == ["--network", "own_printed:flat"]
    assert main([*score, *QUICK]) == 0


def test_a_finished_run_without_its_log_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["condense", "digits", "--out", str(tmp_path / "run"), *LEARN, *TINY]
    assert main(command) == 0
    (tmp_path / "run" / "metrics.jsonl").unlink()
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert "after 1 iterations and 0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (None, None),
        ({"name": 3}, None),
        ({"name": "x", "resize": "8"}, None),
        ({"name": "x", "resize": -1}, None),
        ({"name": "mnist", "config": "mnist", "split": "train"}, ("mnist", DataConfig())),
        ({"name": "imagenette", "config": "160px"}, ("imagenette", DataConfig())),
        ({"name": "imagenette", "config": "320px"}, ("imagenette", DataConfig(config="320px"))),
        (
            {"name": "a/b", "config": "c", "split": "all", "resize": 8, "channels": 1, "hub_id": "a/b"},
            ("a/b", DataConfig(config="c", train_split="all", resize=8, channels=1)),
        ),
        (
            {"name": "cifar100", "label_column": "coarse_label"},
            ("cifar100", DataConfig(label_column="coarse_label")),
        ),
        ({"name": "x", "split": 3, "config": [], "image_column": {}}, ("x", DataConfig())),
    ],
)
def test_what_a_set_records_of_its_data(source: object, found: object) -> None:
    assert data_options({"source": source}) == found


def test_numbers_by_class_are_printed_as_they_are_given() -> None:
    config = GradientMatchingConfig(ipc_of={"0": 3, "a b": 2})
    assert command_line(["x"], config) == "datacondense x --ipc-of '0=3,a b=2'"
    assert command_line(["x"], GradientMatchingConfig(ipc_of={"0": 3})) == "datacondense x --ipc-of 0=3"


def test_an_export_of_a_set_of_unknown_origin_has_a_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(make_set(), provenance={}).save(tmp_path / "set.safetensors")
    words = ["export", str(tmp_path / "set.safetensors"), "--format", "npz", "--out", str(tmp_path / "x")]
    assert main(words) == 0
    assert printed(capsys.readouterr().out)["What that costs"][-2:] == ["--on", "DATASET"]
