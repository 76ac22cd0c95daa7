"""A plot of an image set: one row of tiles for each class, with its name."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont
from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import replacing
from datacondense.image_set import ImageSet

# Pixels.
_TILE = 64
_LARGEST_TILE = 128
_GAP = 3
_MARGIN = 12
_COLUMN_GAP = 24
_TEXT = 15
_WIDEST_NAME = 170
_NARROWEST_PICTURE = 360
_LONGEST_SOURCE = 32  # letters
_ASPECT = 1.4  # width over height that the arrangement of many classes aims at
_MOST_PIXELS = 2**28  # 800 MB

_FORMATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".gif": ("GIF", {}),
    ".bmp": ("BMP", {}),
    ".pdf": ("PDF", {}),
}
"""Formats and their settings by suffixes."""


def plot_grid(images: ImageSet, path: Path, *, zoom: int | None = None, max_per_class: int = 10) -> None:
    """Plot a set as a picture: one row per class with its name at the left, and the provenance below.

    Many classes are arranged in several columns, read downwards. Pixels are clamped to 0..1. One channel is plotted
    grey, three in colour; of two channels the first is plotted, of four or more the first three. Names are written
    without accents, in other scripts by a font of the system, and as the class number where none has their letters.

    Args:
        images: The set.
        path: The file to write, in the format of its suffix: .png, .jpg, .webp, .tif, .gif, .bmp or .pdf; PNG without
            one.
        zoom: Side of one pixel of an image in the plot. None enlarges images to about 64 pixels, and reduces larger
            ones to 128.
        max_per_class: Images plotted of each class, the first ones.

    Raises:
        InputError: `zoom` or `max_per_class` is below 1 or too large, the suffix is no picture's, or the file cannot
            be written.
    """
    path = Path(path)
    form, settings = _format(path)
    picture = grid_picture(images, zoom=zoom, max_per_class=max_per_class)
    with replacing(path) as temporary:
        try:
            picture.save(temporary, format=form, **settings)
        except (KeyError, ValueError) as error:
            # Pillow was built without this format, or the format cannot hold so large a picture.
            raise InputError(f"{path} cannot be written as {form} ({error}): give a name in .png.") from error


def grid_picture(images: ImageSet, *, zoom: int | None = None, max_per_class: int = 10) -> Image.Image:
    """Return the picture that `plot_grid` writes; its options and errors are those of it."""
    for name, value in (("zoom", zoom), ("max_per_class", max_per_class)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, but must be at least 1: leave it out, or give 1 or more.")
    return _picture(images, _tile_size(images.image_shape, zoom), max_per_class)


def _format(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the format that a name stands for, and its settings."""
    suffix = path.suffix.lower() or ".png"
    if suffix not in _FORMATS:
        raise InputError(
            f"{path} ends in {path.suffix}, which is no picture's: give a name in {', '.join(_FORMATS)}."
        )
    return _FORMATS[suffix]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Sizes in pixels, and how classes are arranged in columns."""

    tile: tuple[int, int]  # width, height
    tiles: int
    name_width: int
    num_columns: int
    num_rows: int

    @property
    def row_height(self) -> int:
        return max(self.tile[1], _TEXT + 2) + _GAP

    @property
    def column_width(self) -> int:
        return self.name_width + self.tiles * (self.tile[0] + _GAP)

    @property
    def grid_size(self) -> tuple[int, int]:
        width = self.num_columns * (self.column_width + _COLUMN_GAP) - _COLUMN_GAP - _GAP
        return width, self.num_rows * self.row_height - _GAP

    def corner(self, label: int) -> tuple[int, int]:
        """Return the upper left corner of a class's row."""
        column, row = divmod(label, self.num_rows)
        return _MARGIN + column * (self.column_width + _COLUMN_GAP), _MARGIN + row * self.row_height


def _picture(images: ImageSet, tile: tuple[int, int], max_per_class: int) -> Image.Image:
    """Plot the set."""
    font = ImageFont.load_default(_TEXT)
    assert isinstance(font, FreeTypeFont), "Pillow was built without FreeType"
    names = [_written(name, label, font) for label, name in enumerate(images.class_names)]
    name_width = max(round(font.getlength(name)) for name, font in names) + 10
    layout = _arranged(tile, min(max_per_class, max(images.class_sizes)), name_width, len(names))
    width, height = layout.grid_size
    width = max(width, _NARROWEST_PICTURE)
    size = width + 2 * _MARGIN, height + 3 * _MARGIN + _TEXT
    if prod(size) > _MOST_PIXELS:
        raise InputError(
            f"The plot would have {size[0]}x{size[1]} pixels, but can have {_MOST_PIXELS} at most: give a smaller "
            "max_per_class (--max-per-class) or zoom."
        )
    picture = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(picture)
    for label, (name, its_font) in enumerate(names):
        x, y = layout.corner(label)
        canvas.text((x, y + tile[1] / 2), name, font=its_font, fill="black", anchor="lm")
        for index, array in enumerate(_arrays(images.pixels(images.class_indices[label][:max_per_class]))):
            corner = (x + name_width + index * (tile[0] + _GAP), y)
            picture.paste(_tile(array, tile), corner)
    letters = _without_accents(_caption(images))
    lacking = _lacking(letters, font)
    caption = _shortened("".join("?" if letter in lacking else letter for letter in letters), width, font)
    canvas.text((_MARGIN, height + 2 * _MARGIN), caption, font=font, fill="#555555")
    return picture


def _arranged(tile: tuple[int, int], tiles: int, name_width: int, num_classes: int) -> _Layout:
    """Arrange classes in the number of columns whose shape comes closest to `_ASPECT`."""

    def layout(num_columns: int) -> _Layout:
        num_rows = -(-num_classes // num_columns)
        return _Layout(
            tile=tile,
            tiles=tiles,
            name_width=name_width,
            num_columns=-(-num_classes // num_rows),
            num_rows=num_rows,
        )

    def misfit(candidate: _Layout) -> float:
        width, height = candidate.grid_size
        return max(width / height / _ASPECT, height * _ASPECT / width)

    return min(map(layout, range(1, num_classes + 1)), key=misfit)


def _tile_size(image_shape: tuple[int, int, int], zoom: int | None) -> tuple[int, int]:
    """Return width and height of an image in the plot."""
    _, height, width = image_shape
    side = max(height, width)
    if zoom is None and side > _LARGEST_TILE:
        return max(1, width * _LARGEST_TILE // side), max(1, height * _LARGEST_TILE // side)
    zoom = zoom or max(1, round(_TILE / side))
    return width * zoom, height * zoom


def _arrays(pixels: Tensor) -> NDArray[np.uint8]:
    """Return images `[N, C, H, W]` in pixel scale as arrays `[N, H, W]` (grey) or `[N, H, W, 3]`."""
    channels = 3 if pixels.shape[1] >= 3 else 1
    scaled = pixels[:, :channels].permute(0, 2, 3, 1).cpu().numpy().clip(0, 1) * 255
    arrays: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return arrays if channels == 3 else arrays[..., 0]


def _tile(array: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Return one image, resized."""
    image = Image.fromarray(array)
    # Small images show their single pixels; large ones are averaged.
    return image.resize(size, Image.Resampling.NEAREST if size >= image.size else Image.Resampling.BOX)


def _caption(images: ImageSet) -> str:
    """Return what the provenance tells: method, data set, images per class, seed."""
    provenance = images.provenance
    method, source = provenance.get("method"), _entry(provenance, "source", "name")
    ipc, seed = _entry(provenance, "settings", "ipc"), _entry(provenance, "run", "seed")
    parts = [
        method if isinstance(method, str) else None,
        None if source is None else _ending(str(source)),
        None if ipc is None else f"{ipc} image{'s' if ipc != 1 else ''} per class",
        None if seed is None else f"seed {seed}",
    ]
    known = [str(part) for part in parts if part is not None]
    return " · ".join(known) or f"{len(images)} images of {images.num_classes} classes"


def _ending(text: str) -> str:
    """Cut a path to its end, its most telling part."""
    return text if len(text) <= _LONGEST_SOURCE else "..." + text[3 - _LONGEST_SOURCE :]


def _entry(values: Any, *keys: str) -> Any:
    """Look up a nested entry; None if there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _written(name: str, label: int, font: FreeTypeFont) -> tuple[str, FreeTypeFont]:
    """Return a class's name as it is drawn, and the font: without accents, in another font, or the class number."""
    text = _without_accents(name)
    if _lacking(text, font):
        text = unicodedata.normalize("NFC", name)
        others = (other for other in map(_opened, _other_fonts()) if other and not _lacking(text, other))
        other = next(others, None) if text.isprintable() else None
        text, font = (text, other) if other else (f"class {label}", font)
    return _shortened(text, _WIDEST_NAME, font), font


def _without_accents(text: str) -> str:
    """Return the letters below the accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@cache
def _other_fonts() -> tuple[str, ...]:
    """Return the files of matplotlib's font, which has many scripts, and of the system's."""
    from matplotlib import get_data_path  # noqa: PLC0415 — a second
    from matplotlib.font_manager import findSystemFonts  # noqa: PLC0415

    return (str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), *sorted(findSystemFonts()))


@cache
def _opened(path: str) -> FreeTypeFont | None:
    """Open a font; None for one of another kind, such as of pictures."""
    try:
        return ImageFont.truetype(path, _TEXT)
    except OSError:
        return None


def _lacking(letters: str, font: FreeTypeFont) -> set[str]:
    """Return the letters that the font shows as an empty box."""
    box = bytes(font.getmask("\uffff"))
    return {letter for letter in letters if bytes(font.getmask(letter)) == box}


def _shortened(text: str, width: int, font: FreeTypeFont) -> str:
    """Cut text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


draw_grid = plot_grid  # its name in earlier releases
