"""The plot of a set: its tiles, and its caption."""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.reports import grid
from datacondense.reports.grid import plot_grid

WHITE = 255


def built(
    images: Tensor,
    labels: Tensor | None = None,
    class_names: tuple[str, ...] | None = None,
    record: Mapping[str, Any] | None = None,
) -> ImageSet:
    labels = torch.arange(len(images)) if labels is None else labels
    channels = images.shape[1]
    return ImageSet(
        images=images,
        labels=labels,
        class_names=class_names or tuple(f"c{label}" for label in range(int(labels.max()) + 1)),
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        provenance=record or {},
    )


def flat(
    num_classes: int, per_class: int, value: float = 0.0, shape: tuple[int, int, int] = (1, 8, 8)
) -> ImageSet:
    images = torch.full((num_classes * per_class, *shape), value)
    return built(images, torch.arange(num_classes).repeat_interleave(per_class))


def plotted(images: ImageSet, folder: Path, **settings: Any) -> NDArray[np.uint8]:
    plot_grid(images, folder / "grid.png", **settings)
    with Image.open(folder / "grid.png") as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        return np.asarray(picture)


def tiles_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """List (top, left, height, width) of the rectangles of a colour, row by row."""
    mask = (picture == np.array(colour)).all(-1)
    found = []
    while mask.any():
        top, left = map(int, np.unravel_index(mask.argmax(), mask.shape))
        width = int(np.argmin(np.append(mask[top, left:], False)))
        height = int(np.argmin(np.append(mask[top:, left], False)))
        mask[top : top + height, left : left + width] = False
        if min(height, width) >= 4:  # smaller ones are parts of letters
            found.append((top, left, height, width))
    return found


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of plots, in order."""
    written: list[str] = []
    write = ImageDraw.ImageDraw.text

    def keep(self: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, **settings: Any) -> None:
        written.append(text)
        write(self, corner, text, **settings)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", keep)
    return written


def test_one_row_for_each_class(tmp_path: Path) -> None:
    blue = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(6, 3, 8, 8)
    picture = plotted(built(blue, torch.tensor([0, 0, 0, 1, 1, 0])), tmp_path)
    tiles = tiles_of(picture, (0, 0, 255))
    rows = [[left for top, left, _, _ in tiles if top == row] for row in sorted({tile[0] for tile in tiles})]
    assert [len(row) for row in rows] == [4, 2]
    assert rows[0][:2] == rows[1]
    assert {(height, width) for _, _, height, width in tiles} == {(64, 64)}


def test_gaps_are_thin_and_white(tmp_path: Path) -> None:
    picture = plotted(flat(2, 2, 0.2), tmp_path)
    (top, left, height, width), (_, right, _, _), (below, _, _, _), _ = tiles_of(picture, (51, 51, 51))
    assert 0 < right - left - width < 8
    assert 0 < below - top - height < 8
    assert (picture[top : top + height, left + width : right] == WHITE).all()
    assert (picture[top + height : below, left : left + width] == WHITE).all()
    assert (picture[0] == WHITE).all()
    assert (picture[:, -1] == WHITE).all()


@pytest.mark.parametrize(("value", "shown"), [(-3.0, 0), (0.0, 0), (0.5, 128), (1.0, 255), (7.0, 255)])
def test_pixels_are_clamped(tmp_path: Path, value: float, shown: int) -> None:
    images = torch.tensor([value, 0.2]).view(1, 1, 1, 2).expand(2, 1, 2, 2)
    picture = plotted(built(images), tmp_path)
    top, left, _, _ = tiles_of(picture, (51, 51, 51))[0]
    assert picture[top, left - 1].tolist() == [shown] * 3


def test_every_pixel_becomes_a_square(tmp_path: Path) -> None:
    image = torch.linspace(0, 1, 12).view(1, 3, 2, 2).repeat(2, 1, 1, 1)
    picture = plotted(built(image), tmp_path, zoom=5)
    expected = (image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().repeat(5, 0).repeat(5, 1)
    corner = tuple(int(colour) for colour in expected[0, 0])
    top, left, height, width = tiles_of(picture, (corner[0], corner[1], corner[2]))[0]
    assert (height, width) == (5, 5)
    assert np.array_equal(picture[top : top + 10, left : left + 10], expected)


def test_uint8_images_are_plotted_as_they_are(tmp_path: Path) -> None:
    images = torch.full((2, 3, 4, 4), 77, dtype=torch.uint8)
    assert len(tiles_of(plotted(built(images), tmp_path), (77, 77, 77))) == 2


@pytest.mark.parametrize(
    ("channels", "colour"), [(1, (51, 51, 51)), (2, (51, 51, 51)), (3, (51, 102, 153)), (5, (51, 102, 153))]
)
def test_channels_become_grey_or_colour(tmp_path: Path, channels: int, colour: tuple[int, int, int]) -> None:
    values = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])[:channels].view(1, -1, 1, 1)
    assert len(tiles_of(plotted(built(values.expand(2, -1, 8, 8)), tmp_path), colour)) == 2


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [
        (8, 8, (64, 64)),
        (28, 28, (56, 56)),
        (32, 32, (64, 64)),
        (96, 96, (96, 96)),
        (10, 20, (30, 60)),
        (224, 448, (64, 128)),
    ],
)
def test_tiles_have_a_readable_size(tmp_path: Path, height: int, width: int, shown: tuple[int, int]) -> None:
    picture = plotted(flat(2, 1, shape=(1, height, width)), tmp_path)
    assert {tile[2:] for tile in tiles_of(picture, (0, 0, 0)) if tile[2] > 20} == {shown}


def test_max_per_class_limits_the_tiles(tmp_path: Path) -> None:
    assert len(tiles_of(plotted(flat(2, 12, 0.2), tmp_path), (51, 51, 51))) == 20
    assert len(tiles_of(plotted(flat(2, 12, 0.2), tmp_path, max_per_class=3), (51, 51, 51))) == 6


def test_first_images_of_a_class_are_plotted(tmp_path: Path) -> None:
    values = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    picture = plotted(built(values, torch.tensor([1, 0, 1, 1])), tmp_path, max_per_class=2)
    assert [len(tiles_of(picture, (v, v, v))) for v in (51, 102, 153, 204)] == [1, 1, 1, 0]


@pytest.mark.parametrize(("num_classes", "per_class"), [(10, 1), (10, 10), (100, 1), (100, 10), (200, 1)])
def test_many_classes_are_arranged_in_columns(tmp_path: Path, num_classes: int, per_class: int) -> None:
    images = flat(num_classes, per_class, 0.2, (1, 4, 4))
    picture = plotted(images, tmp_path, zoom=4)
    height, width, _ = picture.shape
    assert 1 / 4 < height / width < 4
    assert len(tiles_of(picture, (51, 51, 51))) == num_classes * per_class


def test_classes_run_down_the_columns(tmp_path: Path) -> None:
    values = (torch.arange(1, 31) / 255).view(30, 1, 1, 1).expand(30, 1, 8, 8)
    picture = plotted(built(values), tmp_path)
    corners = [tiles_of(picture, (value, value, value))[0][:2] for value in range(1, 31)]
    assert corners == sorted(corners, key=lambda corner: (corner[1], corner[0]))
    assert len({left for _, left in corners}) > 1


def test_class_without_images_keeps_its_row(tmp_path: Path, texts: list[str]) -> None:
    images = built(torch.full((2, 1, 8, 8), 0.2), torch.tensor([0, 2]), ("a", "empty", "b"))
    assert len(tiles_of(plotted(images, tmp_path), (51, 51, 51))) == 2
    assert texts[:3] == ["a", "empty", "b"]


@pytest.fixture
def _no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Pillow's font and matplotlib's."""
    grid._other_fonts.cache_clear()
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [])
    yield
    grid._other_fonts.cache_clear()


@pytest.mark.usefixtures("_no_system_fonts")
def test_names_are_written_in_letters_that_a_font_has(tmp_path: Path, texts: list[str]) -> None:
    names = ("cat", "naïve café", "T-shirt/top", "日本", "line\nbreak", "x" * 500)
    plotted(built(torch.zeros(6, 1, 8, 8), class_names=names), tmp_path)
    assert texts[:5] == ["cat", "naive cafe", "T-shirt/top", "class 3", "class 4"]
    assert texts[5].startswith("xxxxxxxxxx")
    assert texts[5].endswith("…")
    assert len(texts[5]) < 40


@pytest.mark.usefixtures("_no_system_fonts")
def test_other_scripts_are_written_in_another_font(tmp_path: Path, texts: list[str]) -> None:
    names = ("кот", "σκύλος", "日本", "й\u0301", "bell\x07", "kot")
    picture = plotted(built(torch.ones(6, 1, 8, 8), class_names=names), tmp_path)
    assert texts[:6] == ["кот", "σκύλος", "class 2", "й\u0301", "class 4", "kot"]
    boxes = plotted(built(torch.ones(6, 1, 8, 8), class_names=("\u4e00", *names[1:])), tmp_path)
    assert texts[7] == "class 0"
    assert (picture[12:76, 12:100] < 128).any()
    assert not np.array_equal(boxes[12:76, 12:100], picture[12:76, 12:100])


def test_a_font_of_the_system_is_found_and_broken_ones_are_passed_over(
    tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.ttf").write_text("no font")
    serif = Path(get_data_path(), "fonts", "ttf", "DejaVuSerif.ttf")
    monkeypatch.setattr(grid, "_other_fonts", lambda: (str(tmp_path / "broken.ttf"), str(serif)))
    name, font = grid._written("кот", 0, ImageFont.load_default(15))  # type: ignore[arg-type]
    assert (name, font.getname()) == ("кот", ("DejaVu Serif", "Book"))


def test_names_are_left_of_their_tiles(tmp_path: Path) -> None:
    picture = plotted(flat(2, 1, 1.0), tmp_path)
    top, left, height, _ = tiles_of(plotted(flat(2, 1, 0.2), tmp_path), (51, 51, 51))[1]
    dark = np.argwhere((picture[top : top + height, :left] < 128).any(-1))
    assert len(dark) > 10
    assert abs(dark[:, 0].mean() - height / 2) < 6
    assert dark[:, 1].max() < left


FULL = {
    "method": "gradient-matching",
    "source": {"name": "mnist"},
    "settings": {"ipc": 10},
    "run": {"seed": 3},
}


@pytest.mark.parametrize(
    ("record", "caption"),
    [
        (FULL, "gradient-matching · mnist · 10 images per class · seed 3"),
        (
            {**FULL, "settings": {"ipc": 1}, "run": {"seed": 0}},
            "gradient-matching · mnist · 1 image per class · seed 0",
        ),
        ({"source": {"name": "digits"}}, "digits"),
        ({"source": "digits", "settings": [1], "run": None, "method": 3}, "2 images of 2 classes"),
        ({}, "2 images of 2 classes"),
        ({"method": "日本"}, "??"),
        (
            {**FULL, "source": {"name": "/very/long/path/to/somewhere/in/the/deepest/folder"}},
            "gradient-matching · ...mewhere/in/the/deepest/folder · 10 images per class · seed 3",
        ),
    ],
)
def test_caption_shows_the_provenance(
    tmp_path: Path, texts: list[str], record: dict[str, Any], caption: str
) -> None:
    wide = torch.zeros(2, 1, 8, 80)
    plotted(built(wide, record=record), tmp_path, zoom=8)
    assert texts[-1] == caption


def test_caption_stays_inside_the_plot(tmp_path: Path, texts: list[str]) -> None:
    picture = plotted(built(torch.zeros(2, 1, 8, 8), record={"method": "long " * 50}), tmp_path)
    assert texts[-1].endswith("…")
    assert (picture[:, -5:] == WHITE).all()


def test_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_grid(flat(3, 2, 0.3), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_name_without_a_suffix_is_a_png_files(tmp_path: Path) -> None:
    plot_grid(flat(2, 1), tmp_path / "new" / "picture")
    with Image.open(tmp_path / "new" / "picture") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("settings", [{"zoom": 0}, {"zoom": -1}, {"max_per_class": 0}])
def test_numbers_below_one_are_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    (name, value), *_ = settings.items()
    with pytest.raises(
        InputError, match=f"{name} is {value}, but must be at least 1: leave it out, or give 1"
    ):
        plotted(flat(2, 1), tmp_path, **settings)


def test_full_disk_leaves_the_old_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grid.png").write_text("old")

    def refuse(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(InputError, match=r"No space left on the disk while writing .*grid\.png"):
        plot_grid(flat(2, 1), tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
