"""Plots of studies: no overlaps, nothing cut off, and the same bytes for the same numbers."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from datacondense.reports.study_plots import _PLOTS, plot_study
from datacondense.studies.results import StudyResult
from tests.reports.made_studies import DIFFERENCES, LINES, TABLES, texts

CASES = TABLES | LINES | DIFFERENCES
ALL = [pytest.param(result, id=name) for name, result in CASES.items()]
FULL = ["6x6", "1x8", "1x1", "long", "strange", "relative", "long lines", "five panels", "long differences"]


@pytest.mark.parametrize("name", FULL)
def test_plots_are_not_cut_off(name: str, tmp_path: Path) -> None:
    plot_study(CASES[name], tmp_path / "new" / "picture")
    with Image.open(tmp_path / "new" / "picture") as picture:
        assert picture.format == "PNG"
        assert round(picture.info["dpi"][0]) == 200
        assert "Software" not in picture.info
        pixels = np.asarray(picture.convert("RGB"))
    edges = np.concatenate([
        pixels[:8].reshape(-1, 3),
        pixels[-8:].reshape(-1, 3),
        pixels[:, :8].reshape(-1, 3),
    ])
    assert (edges == 255).all()
    assert (pixels[:, -8:] == 255).all()
    assert pixels.std() > 5


@pytest.mark.parametrize("result", ALL)
def test_no_text_lies_over_another(result: StudyResult) -> None:
    figure = _PLOTS[result.study.plot](result)
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in texts(figure)
        if text.get_rotation() in {0, 90}  # boxes of turned texts overlap where the texts do not
    ]
    assert len(boxes) > 2
    for (one, box), (other, other_box) in combinations(boxes, 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one!r} lies over {other!r}"


@pytest.mark.parametrize("name", ["3x3", "relative", "five panels"])
def test_same_result_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "one.png", tmp_path / "two.png"):
        plot_study(CASES[name], path)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_plots_leave_matplotlib_settings_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    plot_study(TABLES["3x3"], tmp_path / "made.png")
    plot_study(LINES["relative"], tmp_path / "made.png")
    plot_study(DIFFERENCES["large"], tmp_path / "made.png")
    assert dict(mpl.rcParams) == before


def test_tables_load_no_matplotlib() -> None:
    program = "import sys, datacondense.reports.study_tables; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
