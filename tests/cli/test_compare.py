"""`datacondense compare` on the embedded digits: one table, whatever is compared and whatever fails."""

import csv
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datacondense.cli.compare import Compare
from datacondense.cli.main import main, parsed
from datacondense.cli.study import Study
from datacondense.condensation.registry import method_name
from datacondense.studies.named_sets import KNOWN

SHORT = ("random", "herding", "k-center", "forgetting", "dc", "dm", "dd")
ROWS = (*SHORT[:4], *map(method_name, SHORT[4:]))
TINY = [
    *(
        "--network",
        "convnet-w8-d1",
        "--real-batch",
        "8",
        "--iterations",
        "2",
        "--epochs",
        "3",
        "--repeats",
        "1",
    ),
    *("--seeds", "2", "--full-epochs", "1", "--backend", "inline", "--threads", "1", "--device", "cpu"),
]
# Nothing is trained on the full data set twice, and no task of one table is computed for another.
SETS, FULL = 2 * (1 + 3) + 3, 2  # of one number of images; the network and its features
SCORES = len(SHORT) * 2


def compare(folder: Path, *options: str) -> list[str]:
    return ["compare", "digits", "--out", str(folder), *TINY, *options]


def read(folder: Path, stem: str = "comparison-digits") -> tuple[str, list[dict[str, str]]]:
    """Read page and table."""
    with (folder / f"{stem}.csv").open(encoding="utf-8", newline="") as file:
        return (folder / f"{stem}.md").read_text(encoding="utf-8"), list(csv.DictReader(file))


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compare everything once."""
    folder = tmp_path_factory.mktemp("every")
    assert main(compare(folder, "--methods", *SHORT, "--ipcs", "1", "2", "--quiet")) == 0
    return folder


def test_everything_is_compared_in_one_table(every: Path) -> None:
    page, table = read(every)
    assert [(line["row"], line["column"]) for line in table] == [
        (row, column) for row in ROWS for column in ("1", "2")
    ]
    for line in table:
        assert (line["n"], line["missing"]) == ("2", "0")
        assert 0 <= float(line["mean"]) <= 100
        assert float(line["ratio"]) == pytest.approx(100 * 10 * int(line["column"]) / 1442, rel=1e-5)
        assert float(line["condensing_seconds"]) >= 0
        assert float(line["memory_peak"]) > 50
        assert float(line["evaluating_seconds"]) > 0
        assert line["iterations"] == ("2.0" if line["row"] in ROWS[4:] else "")
        selected = line["row"] in {"herding", "k-center", "forgetting"}
        assert (float(line["shared_seconds"]) > 0) == selected
        assert line["sets"] == ("1" if selected else "2")
    assert "## Relative to the full data set, %" in page
    assert "| full data set | all | 100 | 1 |" in page
    assert (
        "- Protocol of all rows: SGD with learning rate 0.01, a tenth of it after half of the epochs" in page
    )
    assert (every / "comparison-digits.png").read_bytes().startswith(b"\x89PNG")
    assert "![" in page
    assert "(comparison-digits.png)" in page


def test_the_same_command_computes_nothing_again(every: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"comparison-digits.{ending}" for ending in ("md", "csv", "png")]
    before = [(every / name).read_bytes() for name in names]
    assert main(compare(every, "--methods", *SHORT, "--ipcs", "1", "2", "--json")) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (record["computed"], record["failed"]) == (0, {})
    assert record["reused"] == FULL + 2 * (SETS + SCORES)
    assert record["files"] == [str(every / name) for name in names]
    assert record["ratios"].keys() == {"1", "2"}
    assert [(every / name).read_bytes() for name in names] == before


def test_a_smaller_table_reuses_the_tasks_of_a_larger(
    every: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(compare(every, "--ipcs", "2", "--label", "five", "--json")) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert record["computed"] == 0
    assert record["study"]["rows"] == [*ROWS[:5]]  # as published
    _, table = read(every, "five")
    larger = {(line["row"], line["column"]): line for line in read(every)[1]}
    assert table == [larger[row, "2"] for row in ROWS[:5]]


@pytest.mark.slow
def test_dry_run_prints_every_kind_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(compare(tmp_path, "--methods", "herding", "dc", "dm", "--ipcs", "1", "--dry-run", "--json")) == 0
    )
    kinds = {kind["kind"]: kind["tasks"] for kind in json.loads(capsys.readouterr().out)["kinds"]}
    assert kinds == {
        "train convnet-w8-d1 on the full data set": 1,
        "features of convnet-w8-d1": 1,
        "select by herding ipc 1": 1,
        "condense with convnet-w8-d1, ipc 1, B = 8: 2 iterations": 2,
        "condense with convnet-w8-d1 by distribution matching, dsa:color-crop-cutout-scale-rotate, ipc 1, B = 8: "
        "2 iterations": 2,
        "train convnet-w8-d1: 3 epochs of ipc 1": 6,
    }
    assert not list(tmp_path.iterdir())


def test_a_failed_variant_leaves_a_mark_and_the_other_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--methods", "random", "dm", "--ipcs", "1", "--override", "dm.network=no_such_package:build"]
    assert main(compare(tmp_path, *options)) == 1
    printed = capsys.readouterr()
    assert "no_such_package" in printed.err
    assert "Failed tasks: 2; tasks not run because an input failed: 2." in printed.err
    page, (random, matched) = read(tmp_path)
    assert (random["n"], random["missing"], matched["n"], matched["missing"]) == ("2", "0", "0", "2")
    assert "| distribution-matching | –† |" in page
    assert "† 2 of 2 networks are missing: failed or not yet run." in page
    assert "- Settings of single methods: dm.network=no_such_package:build" in page
    assert (tmp_path / "comparison-digits.png").exists()


OWN = """
from datacondense import DistributionMatchingConfig, select_random

class Mine(DistributionMatchingConfig):
    pass

def later(images, ipc, seed):
    return select_random(images, ipc, seed + 100)
"""


def test_methods_of_ones_own_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rows", raising=False)
    (tmp_path / "own_rows.py").write_text(OWN, encoding="utf-8")
    methods = ("random", "own_rows:later", "own_rows:Mine")
    assert main(compare(tmp_path, "--methods", *methods, "--ipcs", "1", "--full-networks", "0")) == 0
    _, table = read(tmp_path)
    assert [(line["row"], line["n"]) for line in table] == [(method, "2") for method in methods]


def test_distillation_has_its_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--against-distillation",
        "--ipcs",
        "1",
        "2",
        "--override",
        "dd.real-batch=4",
        "dd.inner-epochs=2",
    ]
    assert main(compare(tmp_path, *options, "--json")) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    # Three rows learn sets, of which one is scored in two ways.
    assert record["computed"] == 2 * (3 * 2 + 4 * 2)
    page, table = read(tmp_path, "distillation-digits")
    assert list(dict.fromkeys(line["row"] for line in table)) == [
        "dataset-distillation, its own steps",
        "dataset-distillation, its own steps, fixed network",
        "dataset-distillation",
        "gradient-matching",
    ]
    assert {(line["n"], line["missing"], line["shared_seconds"]) for line in table} == {("2", "0", "0.000")}
    own, _, plain, _ = table[::2]
    assert own["condensing_seconds"] == plain["condensing_seconds"]
    assert "## Costs" in page
    assert "full data set |" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--methods", "random", "foo"],
            f"There is no method 'foo': choose from {', '.join(KNOWN)}, or give package.module:name of your own.",
        ),
        (
            ["--methods", "dc", "--rows", "random"],
            "--methods and --rows mean the same: give one of them.",
        ),
        (
            ["--methods", "dc", "--against-distillation"],
            "--against-distillation has its own methods: leave --methods out.",
        ),
        (
            ["--override", "dm.iterations=3"],
            "override is 'dm.iterations=3', but distribution-matching is not compared here: leave it out, or compare "
            "distribution-matching too.",
        ),
        (
            ["--override", "dm.iterations"],
            "override is 'dm.iterations', but must be METHOD.SETTING=VALUE, as in dm.iterations=2000.",
        ),
    ],
)
def test_wrong_input_is_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(compare(tmp_path, *options)) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"datacondense: {message}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--methods", "random", "dm", "--ipcs", "1", "10", "--augmentation", "dsa", "--dry-run"],
        ["--against-distillation", "--override", "dd.iterations=5", "dc.image_lrs=0.1,0.5"],
    ],
)
def test_the_command_on_the_page_gives_the_same_study(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Study] = []

    def note(study: Study) -> int:
        ran.append(study)
        return 3

    monkeypatch.setattr(Study, "__call__", note)
    given = parsed(["compare", "mnist", "--out", "OUT", *options])
    assert isinstance(given, Compare)
    assert given() == 3
    (study,) = ran
    assert study.study.rows == (("random", "distribution-matching") if "--methods" in options else ())
    _, *words = shlex.split(study.command())
    assert study.dry_run == ("--dry-run" in options)
    assert parsed(words) == replace(study, dry_run=False)


def test_rows_may_be_abbreviated(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[str, ...]] = []

    def note(study: Study) -> int:
        rows.append(study.study.rows)
        return 0

    monkeypatch.setattr(Study, "__call__", note)
    for option in ("--rows", "--methods"):
        assert main(["compare", "mnist", "--out", "OUT", option, "dc", "random"]) == 0
    assert rows == [("gradient-matching", "random")] * 2
