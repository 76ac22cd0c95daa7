"""Images of any kind to uint8 pixels: encoded bytes, paths, PIL images, pixels `[H, W]`, `[H, W, 1]` or `[H, W, 3]`.

Grey stays grey, transparent images are put on white, 16 bits are scaled to 8, palettes become colours, and the
orientation that a camera recorded is applied. Resizing to a square is bilinear and antialiased.
"""

import io
import warnings
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from datacondense.disk_images import DiskImages
from datacondense.errors import InputError
from datacondense.memory_limits import MAX_PIXELS, check_image_size, check_memory

Pixels = NDArray[np.uint8]
_GREY_MODES = {"1", "L", "LA", "La"}
_INTEGER_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_FORMATS_OF_16_BITS = {"PNG", "PPM"}  # whose integers of more than 8 bits have 16
_BITS_PER_SAMPLE = 258  # a tag of TIFF files
_REMEDY = "make them smaller with --resize, such as --resize 64, or keep them on disk with --cache"


class First(NamedTuple):
    """The first of images that must share its size.

    Attributes:
        name: What it is called in messages.
        shape: `[H, W]` where it is grey, `[H, W, 3]` where it has colour.
    """

    name: str
    shape: tuple[int, ...]


def decode_images(
    sources: Sequence[Any],
    names: Iterable[str],
    *,
    resize: int | None,
    channels: int | None,
    first: First | None = None,
) -> Tensor:
    """Decode images to uint8 `[N, C, H, W]`, C by default 1 where all are grey; messages say their `names`.

    Where they are a part of more images, whose `first` is given, `check_depth` is left for when all are known.
    """
    if resize is not None:
        check_image_size(resize, resize)
        _check_total(len(sources), (resize, resize))
    decoded: list[Pixels | None] = []
    given, largest = first, 0
    # Our own limit is tighter than the one of PIL, which only warns.
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        for source, name in zip(sources, names, strict=True):
            pixels = _pixels(source, name, resize, channels)
            first = first or First(name, pixels.shape)
            _check_size(pixels, name, first)
            if pixels.nbytes > largest:
                largest = pixels.nbytes
                _check_total(len(sources), pixels.shape)
            decoded.append(pixels)
    if not decoded:
        raise InputError("The data set has no images: give at least one of each class.")
    images = _stacked(decoded, channels)
    if given is None:
        check_depth(int(images.max()), sources[0])
    return images


def first_of(source: Any, name: str, *, resize: int | None, channels: int | None) -> First:
    """Decode the first of images."""
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        return First(name, _pixels(source, name, resize, channels).shape)


def widened(images: Tensor) -> Tensor:
    """Return images `[N, 1 or 3, H, W]` as `[N, 3, H, W]`: a grey channel is repeated."""
    if isinstance(images, DiskImages):
        return images.in_colour()
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1).contiguous()


def _stacked(decoded: list[Pixels | None], channels: int | None) -> Tensor:
    """Copy images into one tensor, and free each as it is copied, so that memory holds them once."""
    shapes = [pixels.shape for pixels in decoded if pixels is not None]
    channels = channels or (1 if all(len(shape) == 2 for shape in shapes) else 3)
    _check_total(len(shapes), (*shapes[0][:2], channels))
    images = np.empty((len(shapes), channels, *shapes[0][:2]), dtype=np.uint8)
    for index, pixels in enumerate(decoded):
        if pixels is not None:
            images[index] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        decoded[index] = None
    return torch.from_numpy(images)


def _pixels(source: Any, name: str, resize: int | None, channels: int | None) -> Pixels:
    """Decode one image to `[H, W]` where it is grey, `[H, W, 3]` where it has colour."""
    if source is None:
        raise InputError(f"{name} has no image: remove that row.")
    try:
        image = _opened(source)
        check_image_size(*image.size)
        image = plain_image(image)
        if resize is not None and image.size != (resize, resize):
            image = image.resize((resize, resize), Image.Resampling.BILINEAR)
        return _without_equal_channels(np.asarray(image.convert("L") if channels == 1 else image))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{name}: it has more than {MAX_PIXELS:,} pixels, the most that an image may have; make it smaller."
        ) from error
    except Exception as error:  # Decoders raise errors of many kinds on a broken file.
        raise InputError(
            f"{name} cannot be decoded as an image ({str(error) or type(error).__name__}): replace or remove it."
        ) from error


def _opened(source: Any) -> Image.Image:
    """Return a PIL image for any kind of source."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return Image.fromarray(source[..., 0] if source.ndim == 3 and source.shape[-1] == 1 else source)
    if isinstance(source, Path):
        with Image.open(source) as image:
            check_image_size(*image.size)
            image.load()
            return image
    # PIL tries WebP after all common formats, which takes longer than to decode a small image.
    formats = ("WEBP",) if source[8:12] == b"WEBP" else None
    return Image.open(io.BytesIO(source), formats=formats)


def plain_image(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8 bits, upright and opaque."""
    integer = image.mode in _INTEGER_MODES
    if integer:
        _check_16_bits(image)
    if image.getexif().get(ExifTags.Base.Orientation) is not None:
        image = ImageOps.exif_transpose(image)
    if integer:
        # Scaled, as PIL's own conversion clips: v / 257, rounded.
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise InputError(
            "its pixels are floating-point, whose range is unknown; save it with 8 bits per channel."
        )
    grey = image.mode in _GREY_MODES
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)  # `convert` copies even where nothing changes


def _check_16_bits(image: Image.Image) -> None:
    """Refuse integers whose range is unknown: 32 bits may hold values to 255, to 65535 or beyond."""
    if image.mode != "I":
        return
    values = np.asarray(image)
    low, high = values.min(), values.max()
    depth = tuple(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ()))
    if image.format not in _FORMATS_OF_16_BITS and depth != (16,):
        raise InputError(
            f"its pixels are 32-bit whole numbers (here from {low} to {high}), whose range is unknown; save it with 8 "
            "or 16 bits per channel."
        )
    if low < 0:
        raise InputError(
            f"its pixels run from {low} to {high}, but must not be below 0; save it with 8 bits per channel."
        )


def check_depth(highest: int, first: Any) -> None:
    """Refuse 8-bit values in images of 16 bits, which become black when they are scaled, by the highest pixel."""
    if highest <= 1 and _opened(first).mode in _INTEGER_MODES:
        raise InputError(
            "The images have 16 bits per channel but hardly a value above 255 of 65535, so all would be black: save "
            "them with 8 bits."
        )


def _check_total(count: int, shape: tuple[int, ...]) -> None:
    """Refuse images of one shape, `[H, W]` or `[H, W, C]`, that together do not fit into the memory."""
    height, width = shape[:2]
    what = f"{count:,} images of {width}x{height} pixels"
    check_memory(count * prod(shape), what, _REMEDY)


def _without_equal_channels(pixels: Pixels) -> Pixels:
    """Reduce colour pixels that are all grey to one channel: some formats (WebP, palettes) store grey as colour."""
    # A row tells of most images that they have colour, in a tenth of the time.
    if pixels.ndim == 3 and all((part == part[..., :1]).all() for part in (pixels[:1], pixels)):
        return pixels[..., 0]
    return pixels


def _check_size(pixels: Pixels, name: str, first: First) -> None:
    """Refuse an image that differs in size from the first one."""
    if pixels.shape[:2] == first.shape[:2]:
        return
    (height, width), (first_height, first_width) = pixels.shape[:2], first.shape[:2]
    raise InputError(
        f"{first.name} is {first_width}x{first_height} pixels but {name} is {width}x{height}, and images must share "
        "one size: give one with --resize, such as --resize 32."
    )
