"""Page and table of gradient noise: every number where it belongs, and missing ones explained."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from datacondense.errors import InputError
from datacondense.reports.noise import noise_csv_text, noise_markdown, write_noise
from datacondense.studies.noise_running import NoiseEntry
from tests.reports.made_noise import ENVIRONMENT, ONE, RESULT, TWO, made, parts

ALL_ROWS = """\
| architecture | transform | data | network | batch | interaction |
| --- | --- | ---: | ---: | ---: | ---: |
| convnet | none | 10.0 (5.0 to 15.0) | 60.0 (55.0 to 65.0) | 0.0 (-5.0 to 5.0) | 30.0 (25.0 to 35.0) |
| convnet | max-pool-1 | – | – | – | – |
| mlp | none | – | – | – | – |
| mlp | max-pool-1 | 50.0 (-20.0 to 120.0) | 25.0 (-45.0 to 95.0) | 12.5 (-57.5 to 82.5) | 12.5 (-57.5 to 82.5) |
"""
ROWS_OF_CLASSES = """\
## convnet, none: by class

| class | data | network | batch | interaction |
| --- | ---: | ---: | ---: | ---: |
| cat | 20.0 (15.0 to 25.0) | 50.0 (45.0 to 55.0) | 10.0 (5.0 to 15.0) | 20.0 (15.0 to 25.0) |
| do\\*g | – | – | – | – |

## mlp, max-pool-1: by class
"""


def test_page_has_facts_model_tables_and_environments() -> None:
    page = noise_markdown(RESULT, {"Data set": "a*b", "Command": "x"}, picture="p.png")
    assert page.startswith(
        "# What the matching gradient is made of\n\n- Data set: a\\*b\n- Command: x\n\n"
        "![What the matching gradient is made of](p.png)\n\nThe gradient y"
    )
    assert f"\n\n{ALL_ROWS}\n" in page
    assert f"\n\n{ROWS_OF_CLASSES}" in page
    assert page.endswith("\n\n## Environments\n\n- engine fused, threads 1\n")
    assert "Intervals need at least three networks" not in page


def test_classes_can_be_left_out() -> None:
    full, short = noise_markdown(RESULT, {}), noise_markdown(RESULT, {}, by_class=False)
    assert "by class" in full
    assert "by class" not in short
    assert f"\n\n{ALL_ROWS}\n" in short


@pytest.mark.parametrize(
    ("entry", "failed", "sentences"),
    [
        (ONE, False, ["– in a finished row means that the transform sets the gradient to zero"]),
        (TWO, False, []),
        (TWO, True, ["– means failed or not yet run."]),
        (
            NoiseEntry(parts(0.1, 0.6, 0.1, 0.2, half=None), ()),
            False,
            ["Intervals need at least three networks"],
        ),
    ],
)
def test_missing_numbers_are_explained(entry: NoiseEntry, failed: bool, sentences: list[str]) -> None:
    networks = ("convnet", "mlp") if failed else ("convnet",)
    page = noise_markdown(made({("convnet", "none"): entry}, networks), {})
    after = re.search(r"extend beyond 0 and 100\.(.*)", page)
    assert after is not None
    for sentence in sentences:
        assert sentence in after[1]
    assert bool(after[1]) == bool(sentences)


def test_a_share_without_interval_has_no_brackets() -> None:
    entry = NoiseEntry(parts(0.1, 0.6, -0.012, 0.312, half=None), ())
    page = noise_markdown(made({("convnet", "none"): entry}, ("convnet",)), {})
    assert "| convnet | none | 10.0 | 60.0 | -1.2 | 31.2 |" in page


def test_environments_are_listed_once_each() -> None:
    result = replace(RESULT, environments=[ENVIRONMENT, dict(ENVIRONMENT), {"engine": "eager", "threads": 2}])
    page = noise_markdown(result, {})
    listed = "## Environments\n\n- engine eager, threads 2\n- engine fused, threads 1\n\n"
    assert page.endswith(
        f"{listed}**The table mixes different numbers of threads**, which may cause differences between entries.\n"
    )
    assert "Environments" not in noise_markdown(replace(RESULT, environments=[]), {})


def test_table_has_every_part_of_every_gradient() -> None:
    rows = list(csv.DictReader(io.StringIO(noise_csv_text(RESULT))))
    assert list(rows[0]) == [
        "network",
        "transform",
        "class",
        "part",
        "squared_length",
        "share",
        "low",
        "high",
    ]
    found = {
        (row["network"], row["transform"], row["class"], row["part"]): list(row.values())[4:] for row in rows
    }
    assert len(found) == len(rows) == 4 * (3 + 1 + 1 + 2)
    assert found["convnet", "none", "", "network"] == ["1.2", "60.000000", "55.000000", "65.000000"]
    assert found["convnet", "none", "cat", "interaction"] == ["0.4", "20.000000", "15.000000", "25.000000"]
    assert found["convnet", "none", "do*g", "data"] == [""] * 4
    assert found["mlp", "none", "", "data"] == [""] * 4
    entry = NoiseEntry(parts(0.1, 0.6, 0.1, 0.2, half=None), ())
    assert "convnet,none,,batch,0.2,10.000000,,\n" in noise_csv_text(
        made({("convnet", "none"): entry}, ("convnet",))
    )


def test_files_are_written_with_the_same_bytes(tmp_path: Path) -> None:
    written = [write_noise(RESULT, {}, tmp_path / folder, "a name") for folder in ("one", "two")]
    assert [path.name for path in written[0]] == ["a name.md", "a name.csv", "a name.png"]
    assert "(a%20name.png)" in written[0][0].read_text(encoding="utf-8")
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    (tmp_path / "three" / "a name.md").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a name\.md is a folder"):
        write_noise(RESULT, {}, tmp_path / "three", "a name")
