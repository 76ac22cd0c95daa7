"""The files of plots: formats by suffixes, and sizes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datacondense.errors import InputError
from datacondense.reports.grid import plot_grid
from tests.reports.test_grid import built, flat, plotted, tiles_of


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP"), ("a.tiff", "TIFF")),
        *(("a.tif", "TIFF"), ("a.gif", "GIF"), ("a.bmp", "BMP")),
    ],
)
def test_the_suffix_says_the_format(name: str, form: str, tmp_path: Path) -> None:
    images = flat(2, 3, 0.2)
    plot_grid(images, tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == form
        found = np.asarray(picture.convert("RGB")).astype(int)
    assert abs(found - plotted(images, tmp_path).astype(int)).max() <= (24 if form == "JPEG" else 0)


def test_a_document_is_written(tmp_path: Path) -> None:
    plot_grid(flat(2, 1), tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", ["a.txt", "own.safetensors", "settings.json", "a.png.bak"])
def test_suffixes_of_other_things_are_refused(name: str, tmp_path: Path) -> None:
    suffix = Path(name).suffix
    with pytest.raises(
        InputError, match=rf"{name} ends in {suffix}, which is no picture's: give a name in .png, .jpg"
    ):
        plot_grid(flat(2, 1), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    wide = built(torch.zeros(2, 1, 1, 300))
    with pytest.raises(InputError, match=r"a\.webp cannot be written as WEBP .*: give a name in \.png\."):
        plot_grid(wide, tmp_path / "a.webp", zoom=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [{"zoom": 10**9}, {"zoom": 10**4}])
def test_plots_beyond_any_screen_are_refused_before_they_take_memory(
    tmp_path: Path, settings: dict[str, int]
) -> None:
    with pytest.raises(
        InputError, match=r"pixels, but can have 268435456 at most: give a smaller max_per_class"
    ):
        plotted(flat(2, 3), tmp_path, **settings)


def test_as_many_images_as_there_are(tmp_path: Path) -> None:
    assert len(tiles_of(plotted(flat(2, 12, 0.2), tmp_path, max_per_class=10**9), (51, 51, 51))) == 24
