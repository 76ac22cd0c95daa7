"""The plot of gradient noise: points and intervals in the right positions, no overlaps."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from datacondense.reports.noise_plot import noise_figure, plot_noise
from datacondense.studies.noise_running import NoiseEntry, NoiseResult
from tests.reports.made_noise import ONE, RESULT, TWO, made, parts

NETWORKS = ("mlp", "convnet", "lenet", "alexnet", "vgg11-bn", "resnet18-bn-ap")
VARIANTS = ("none", "max-pool-1", "abs-max-pool-2+keep-magnitude-global:0.0025")
MANY = made({(network, variant): ONE for network in NETWORKS for variant in VARIANTS[:2]}, NETWORKS, VARIANTS)
SINGLE = made({("convnet", "none"): TWO}, ("convnet",))
NOTHING = made({}, ("$a$", "日本"))


def points(axes: Axes) -> dict[float, float]:
    """Read the points of a panel: share by height."""
    lines = [line for line in axes.lines if line.get_marker() != "None"]
    return {float(np.asarray(line.get_ydata())[0]): float(np.asarray(line.get_xdata())[0]) for line in lines}


def intervals(axes: Axes) -> dict[float, tuple[float, float]]:
    """Read the intervals of a panel: both ends by height."""
    found = {}
    for collection in axes.collections:
        assert isinstance(collection, LineCollection)
        ((low, height), (high, _)) = collection.get_segments()[0].tolist()
        found[height] = (low, high)
    return found


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_every_part_has_a_panel_with_its_shares() -> None:
    panels = noise_figure(RESULT).axes
    assert [panel.get_title().strip() for panel in panels] == ["data", "network", "batch", "interaction"]
    heights = list(panels[0].get_yticks())
    assert heights == pytest.approx([0, 1, 2.6, 3.6]), "lines of one network stand together"
    shares = [(10, 50), (60, 25), (-0.04, 12.5), (30, 12.5)]
    for panel, (first, last) in zip(panels, shares, strict=True):
        assert points(panel) == pytest.approx({heights[0]: first, heights[3]: last})
        found = intervals(panel)
        assert found[heights[0]] == pytest.approx((first - 5, first + 5))
        assert found[heights[3]] == pytest.approx((last - 70, last + 70))
        assert [text.get_position()[1] for text in panel.texts if text.get_text() == "no number"] == heights[
            1:3
        ]
        assert panel.get_xlim() == (-10, 110)


def test_shares_beyond_the_axis_are_at_its_end_and_some_have_no_interval() -> None:
    entry = NoiseEntry(parts(-0.5, 1.4, 0.05, 0.05, half=None), ())
    panels = noise_figure(made({("convnet", "none"): entry}, ("convnet",))).axes
    assert [points(panel)[0] for panel in panels] == pytest.approx([-10, 110, 5, 5])
    assert [intervals(panel) for panel in panels] == [{}] * 4


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (SINGLE, ["convnet"]),
        (made({}, ("convnet", "mlp")), ["convnet", "mlp"]),
        (made({}, ("convnet",), ("none", "wiener:4")), ["none", "wiener:4"]),
        (RESULT, ["convnet, none", "convnet, max-pool-1", "mlp, none", "mlp, max-pool-1"]),
        (NOTHING, [r"\$a\$", "??"]),
    ],
)
def test_lines_are_named_by_what_distinguishes_them(result: NoiseResult, expected: list[str]) -> None:
    panels = noise_figure(result).axes
    assert labels(panels[0]) == expected
    assert all(set(labels(panel)) == {""} for panel in panels[1:])


def texts(figure: Figure) -> list[Any]:
    """Render, and return the boxes of the visible texts."""
    found: list[Text] = []
    canvas: Any = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: found.append(text))
        canvas.draw()
    return [text.get_window_extent() for text in found if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("result", [RESULT, MANY, SINGLE, NOTHING], ids=["some", "many", "single", "nothing"])
def test_no_text_lies_over_another(result: NoiseResult) -> None:
    boxes = texts(noise_figure(result))
    assert len(boxes) >= 4 * 2 + 2
    for one, other in combinations(boxes, 2):
        assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9)), (one, other)


@pytest.mark.parametrize("result", [MANY, SINGLE, NOTHING], ids=["many", "single", "nothing"])
def test_plots_are_not_cut_off(result: NoiseResult, tmp_path: Path) -> None:
    plot_noise(result, tmp_path / "new" / "picture.png")
    with Image.open(tmp_path / "new" / "picture.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    edges = [pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]]
    assert all((edge == 255).all() for edge in edges), "something is cut off"
    assert (pixels < 255).any()


def test_tables_load_no_matplotlib() -> None:
    code = "import sys, datacondense.reports.noise; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
