"""Page, table, plot and record of gradient noise: every number where it belongs, and missing ones explained."""

import csv
import io
import json
import re
from itertools import combinations
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from datacondense.errors import InputError
from datacondense.reports.noise_page import noise_csv_text, noise_markdown, write_noise
from datacondense.reports.noise_plot import noise_figure
from datacondense.reports.records import noise_record, read_noise_record
from datacondense.studies.noise import NoiseResult
from tests.reports.made_noise import ONE, RESULT, TWO, Gradients, made, parts
from tests.reports.made_studies import boxes

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
NO_INTERVALS: Gradients = {"": parts(0.1, 0.6, -0.012, 0.312, half=nan)}
NETWORKS = ("mlp", "convnet", "lenet", "alexnet", "vgg11-bn", "resnet18-bn-ap")
VARIANTS = ("none", "max-pool-1", "abs-max-pool-2+keep-magnitude-global:0.0025")
MANY = made({(network, variant): ONE for network in NETWORKS for variant in VARIANTS[:2]}, NETWORKS, VARIANTS)
SINGLE = made({("convnet", "none"): TWO}, ("convnet",))
NOTHING = made({}, ("$a$", "日本"))


def test_page_has_facts_model_tables_and_environments() -> None:
    page = noise_markdown(RESULT, {"Data set": "a*b", "Command": "x"}, picture="p.png")
    assert page.startswith(
        "# What the matching gradient is made of\n\n- Data set: a\\*b\n- Command: x\n\n"
        "![What the matching gradient is made of](p.png)\n\nThe gradient y"
    )
    assert f"\n\n{ALL_ROWS}\n" in page
    assert f"\n\n{ROWS_OF_CLASSES}" in page
    assert page.endswith("\n\n## Environments\n\n- engine fused, threads 1\n")
    short = noise_markdown(RESULT, {}, by_class=False)
    assert "by class" not in short
    assert f"\n\n{ALL_ROWS}\n" in short


@pytest.mark.parametrize(
    ("entry", "failed", "sentence"),
    [
        (ONE, False, " – in a finished row means that the transform sets the gradient to zero."),
        (TWO, False, ""),
        (TWO, True, " – means failed or not yet run."),
        (NO_INTERVALS, False, " Intervals need at least three networks and three batches."),
    ],
)
def test_missing_numbers_are_explained(entry: Gradients, failed: bool, sentence: str) -> None:
    networks = ("convnet", "mlp") if failed else ("convnet",)
    page = noise_markdown(made({("convnet", "none"): entry}, networks), {})
    after = re.search(r"extend beyond 0 and 100\.(.*)", page)
    assert after is not None
    assert after[1] == sentence


def test_a_share_without_interval_has_no_brackets() -> None:
    result = made({("convnet", "none"): NO_INTERVALS}, ("convnet",))
    assert "| convnet | none | 10.0 | 60.0 | -1.2 | 31.2 |" in noise_markdown(result, {})
    assert "convnet,none,,network,1.2,60.000000,,\n" in noise_csv_text(result)


def test_table_has_every_part_of_every_gradient() -> None:
    rows = list(csv.DictReader(io.StringIO(noise_csv_text(RESULT))))
    keys = ("network", "transform", "class", "part")
    found = {tuple(row[key] for key in keys): list(row.values())[4:] for row in rows}
    assert len(found) == len(rows) == 4 * (3 + 1 + 1 + 2)
    assert found["convnet", "none", "", "network"] == ["1.2", "60.000000", "55.000000", "65.000000"]
    assert found["convnet", "none", "cat", "interaction"] == ["0.4", "20.000000", "15.000000", "25.000000"]
    assert found["convnet", "none", "do*g", "data"] == [""] * 4
    assert found["mlp", "none", "", "data"] == [""] * 4


def test_files_are_written_with_the_same_bytes(tmp_path: Path) -> None:
    written = [write_noise(RESULT, {}, tmp_path / folder, "a name") for folder in ("one", "two")]
    assert [path.name for path in written[0]] == ["a name.md", "a name.csv", "a name.png"]
    assert "(a%20name.png)" in written[0][0].read_text(encoding="utf-8")
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    (tmp_path / "three" / "a name.md").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a name\.md is a folder"):
        write_noise(RESULT, {}, tmp_path / "three", "a name")


def test_records_hold_everything() -> None:
    values = json.loads(json.dumps({"date": "2026-01-01", **noise_record(RESULT)}))
    assert values["parts"]["share"][0] == 0.1
    assert None in values["parts"]["low"]
    found = read_noise_record(values)
    pd.testing.assert_frame_equal(found.frame, RESULT.frame)
    assert (found.networks, found.variants) == (RESULT.networks, RESULT.variants)
    assert found.environments == RESULT.environments


def test_records_of_earlier_releases_are_read() -> None:
    part = {"squared_length": 0.2, "share": 0.1, "interval": [0.05, 0.15]}
    parts = {"data": part, "network": part, "batch": {**part, "interval": None}, "interaction": part}
    entry = {"network": "mlp", "variant": "none", "all_classes": parts}
    values = {"networks": ["mlp"], "variants": ["none"], "environments": []}
    classes = [{"name": "cat", "parts": None}]
    frame = read_noise_record({**values, "entries": [{**entry, "classes": classes}]}).frame
    assert frame["part"].tolist() == ["data", "network", "batch", "interaction"] * 2
    assert frame["class"].tolist() == [""] * 4 + ["cat"] * 4
    assert frame["share"].tolist()[:4] == [0.1] * 4
    assert frame["low"].isna().tolist() == [False, False, True, False] + [True] * 4


def points(axes: Axes) -> dict[float, float]:
    """Return the points of a panel: share by height."""
    lines = [line for line in axes.lines if line.get_marker() != "None"]
    return {float(np.asarray(line.get_ydata())[0]): float(np.asarray(line.get_xdata())[0]) for line in lines}


def intervals(axes: Axes) -> dict[float, tuple[float, float]]:
    """Return the intervals of a panel: both ends by height."""
    lines = [each for each in axes.collections if isinstance(each, LineCollection)]
    segments = [np.asarray(line.get_segments()[0]).tolist() for line in lines]
    return {height: (low, high) for (low, height), (high, _) in segments}


def test_every_part_has_a_panel_with_its_shares() -> None:
    panels = noise_figure(RESULT).axes
    titles = [panel.get_title().split("\n")[0] for panel in panels]
    assert titles == ["data", "network", "batch", "interaction"]
    heights = list(panels[0].get_yticks())
    assert heights == pytest.approx([0, 1, 2.6, 3.6]), "lines of one network stand together"
    for panel, (first, last) in zip(panels, [(10, 50), (60, 25), (-0.04, 12.5), (30, 12.5)], strict=True):
        assert points(panel) == pytest.approx({heights[0]: first, heights[3]: last})
        found = intervals(panel)
        assert found[heights[0]] == pytest.approx((first - 5, first + 5))
        assert found[heights[3]] == pytest.approx((last - 70, last + 70))
        missing = [text.get_position()[1] for text in panel.texts if text.get_text() == "no number"]
        assert missing == heights[1:3]
        assert panel.get_xlim() == (-10, 110)


def test_shares_beyond_the_axis_are_at_its_end_and_some_have_no_interval() -> None:
    entry: Gradients = {"": parts(-0.5, 1.4, 0.05, 0.05, half=nan)}
    panels = noise_figure(made({("convnet", "none"): entry}, ("convnet",))).axes
    assert [points(panel)[0] for panel in panels] == pytest.approx([-10, 110, 5, 5])
    assert [intervals(panel) for panel in panels] == [{}] * 4


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (SINGLE, ["convnet"]),
        (made({}, ("convnet",), ("none", "wiener:4")), ["none", "wiener:4"]),
        (RESULT, ["convnet, none", "convnet, max-pool-1", "mlp, none", "mlp, max-pool-1"]),
        (NOTHING, [r"\$a\$", "??"]),
    ],
)
def test_lines_are_named_by_what_distinguishes_them(result: NoiseResult, expected: list[str]) -> None:
    named, *others = [
        [label.get_text() for label in panel.get_yticklabels()] for panel in noise_figure(result).axes
    ]
    assert named == expected
    assert {label for labels in others for label in labels} == {""}


@pytest.mark.parametrize("result", [RESULT, MANY, SINGLE, NOTHING], ids=["some", "many", "single", "nothing"])
def test_no_text_lies_over_another(result: NoiseResult) -> None:
    found = boxes(noise_figure(result))
    assert len(found) >= 4 + 2
    for (one, box), (other, other_box) in combinations(found, 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one!r} lies over {other!r}"
