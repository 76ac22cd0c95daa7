import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from datacondense import memory_limits as budget
from datacondense.data import decode
from datacondense.data.decode import decode_images, plain_image, widened
from datacondense.errors import InputError

RAMP = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1)


def decoded(*images: Image.Image, resize: int | None = None, channels: int | None = None) -> torch.Tensor:
    names = [f"image {index}" for index in range(len(images))]
    return decode_images(images, names, resize=resize, channels=channels)


def test_grey_stays_grey() -> None:
    images = decoded(Image.fromarray(RAMP))

    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(RAMP)[None, None])


def test_colour_has_channels_first() -> None:
    assert torch.equal(decoded(Image.fromarray(COLOUR)), torch.from_numpy(COLOUR.transpose(2, 0, 1))[None])


def test_bilevel_becomes_black_and_white() -> None:
    bits = RAMP > 100

    assert torch.equal(decoded(Image.fromarray(bits))[0, 0], torch.from_numpy(bits * np.uint8(255)))


def test_transparency_is_laid_on_white() -> None:
    alpha = np.full((5, 5), 255, dtype=np.uint8)
    alpha[0] = 0
    image = Image.fromarray(np.dstack([COLOUR, alpha]))
    assert image.mode == "RGBA"

    pixels = decoded(image)[0]

    assert (pixels[:, 0] == 255).all()
    assert torch.equal(pixels[:, 1:], torch.from_numpy(COLOUR.transpose(2, 0, 1).copy())[:, 1:])


def test_grey_with_transparency_stays_grey() -> None:
    image = Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (5, 5), 0)])

    assert torch.equal(decoded(image), torch.full((1, 1, 5, 5), 255, dtype=torch.uint8))


def test_palette_is_looked_up() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])

    assert decoded(image)[0, :, 0].T.tolist() == [[10, 20, 30], [200, 100, 50]]


def test_grey_palette_is_grey() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.putdata([1, 0])

    assert decoded(image).tolist() == [[[[200, 10]]]]


def test_transparent_palette_colour_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=1)
    names = ["image"]

    pixels = decode_images([buffer.getvalue()], names, resize=None, channels=None)

    assert pixels[0, :, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


WIDE = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
GREYMAP = b"P5 6 1 65535\n" + WIDE.astype(">u2").tobytes()


def file_of(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "source",
    [
        Image.fromarray(WIDE),
        file_of(Image.fromarray(WIDE), "PNG"),
        file_of(Image.fromarray(WIDE), "TIFF"),
        GREYMAP,  # which PIL opens in mode I, as earlier releases do PNG
    ],
    ids=["memory", "PNG", "TIFF", "PGM"],
)
def test_sixteen_bits_are_scaled_not_clipped(source: object) -> None:
    images = decode_images([source], ["image"], resize=None, channels=None)

    assert images.flatten().tolist() == [0, 0, 1, 1, 128, 255]


def test_sixteen_bits_are_known_by_the_tag_of_the_file() -> None:
    image = Image.open(io.BytesIO(file_of(Image.fromarray(WIDE.astype(np.int32)), "TIFF")))
    assert image.mode == "I"
    image.tag_v2[258] = (16,)  # type: ignore[attr-defined]  # as of signed 16 bits

    assert decoded(image).flatten().tolist() == [0, 0, 1, 1, 128, 255]


@pytest.mark.parametrize("high", [255, 65535, 70000])
def test_thirty_two_bits_are_refused(high: int) -> None:
    image = Image.fromarray(np.array([[0, high]], dtype=np.int32))
    message = rf"its pixels are 32-bit whole numbers \(here from 0 to {high}\).* save it with 8 or 16 bits"

    for source in (image, file_of(image, "TIFF")):
        with pytest.raises(InputError, match=message):
            decode_images([source], ["image"], resize=None, channels=None)


def test_eight_bit_values_in_sixteen_bits_are_refused() -> None:
    dark = file_of(Image.fromarray(np.array([[0, 255]], dtype=np.uint16)), "PNG")
    bright = file_of(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)), "PNG")
    masks = file_of(Image.fromarray(np.array([[0, 1]], dtype=np.uint8)), "PNG")

    with pytest.raises(InputError, match="16 bits per channel but hardly a value above 255 of 65535"):
        decode_images([dark, dark], ["a", "b"], resize=None, channels=None)
    assert decode_images([dark, bright], ["a", "b"], resize=None, channels=None).max() == 255
    assert decode_images([masks], ["a"], resize=None, channels=None).max() == 1


def header_only(width: int, height: int, bits: int) -> bytes:
    """A PNG file that says that it has many pixels, and holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("resize", [None, 32])
@pytest.mark.parametrize("size", [(8192, 8193), (13_000, 13_000), (60_000, 60_000)])
def test_huge_images_are_refused_by_their_headers(
    tmp_path: Path, size: tuple[int, int], resize: int | None
) -> None:
    (tmp_path / "a.png").write_bytes(header_only(*size, 16))

    for source in (tmp_path / "a.png", header_only(*size, 16)):
        with pytest.raises(InputError, match=r"big: .* 67,108,864.*; make it smaller"):
            decode_images([source], ["big"], resize=resize, channels=None)


def test_images_that_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "total_memory", lambda: 1000)
    grey = Image.fromarray(RAMP)
    seen = []

    def opened(image: Image.Image) -> Image.Image:
        seen.append(image)
        return image

    monkeypatch.setattr(decode, "_opened", opened)
    assert len(decoded(*[grey] * 24)) == 24
    seen.clear()
    with pytest.raises(InputError, match=r"25 images of 5x5 pixels take 0\.0 GB.*--resize"):
        decoded(*[grey] * 25)
    assert len(seen) == 1  # before the others are decoded
    with pytest.raises(InputError, match="9 images of 5x5 pixels"):
        decoded(*[grey] * 9, channels=3)
    with pytest.raises(InputError, match="9 images of 5x5 pixels"):
        decoded(*[grey] * 8, Image.fromarray(COLOUR))


def test_cmyk_becomes_colour() -> None:
    image = Image.new("CMYK", (2, 2), (0, 255, 255, 0))

    assert decoded(image)[0, :, 0, 0].tolist() == [255, 0, 0]


def test_colour_modes_with_grey_pixels_are_grey() -> None:
    assert torch.equal(decoded(Image.fromarray(RAMP).convert("RGB")), torch.from_numpy(RAMP)[None, None])


def test_webp_is_read() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, "WEBP", lossless=True)

    images = decode_images([buffer.getvalue()], ["image"], resize=None, channels=None)

    assert torch.equal(images, torch.from_numpy(RAMP)[None, None])


def test_one_colour_image_makes_all_three_channels() -> None:
    images = decoded(Image.fromarray(RAMP), Image.fromarray(COLOUR))

    assert images.shape == (2, 3, 5, 5)
    assert (images[0] == torch.from_numpy(RAMP)).all()


def test_images_get_the_requested_channels() -> None:
    grey = decoded(Image.fromarray(COLOUR), channels=1)
    assert torch.equal(grey[0, 0], torch.from_numpy(np.array(Image.fromarray(COLOUR).convert("L"))))
    assert decoded(Image.fromarray(RAMP), channels=3).shape == (1, 3, 5, 5)


def test_camera_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    Image.fromarray(RAMP[:2]).save(buffer, "PNG", exif=exif)

    upright = decode_images([buffer.getvalue()], ["photo"], resize=None, channels=None)

    assert torch.equal(upright[0, 0], torch.from_numpy(np.rot90(RAMP[:2], -1).copy()))


def test_resize_is_to_a_square_and_antialiased() -> None:
    stripes = np.zeros((8, 16), dtype=np.uint8)
    stripes[:, ::2] = 255

    small = decoded(Image.fromarray(stripes), resize=4)

    assert small.shape == (1, 1, 4, 4)
    # Plain sampling of every fourth column would give 255 throughout.
    assert ((small > 100) & (small < 155)).all()


def test_resize_makes_mixed_sizes_one() -> None:
    assert decoded(Image.new("L", (4, 5)), Image.new("L", (9, 3)), resize=6).shape == (2, 1, 6, 6)


def test_mixed_sizes_are_refused_with_both_sizes() -> None:
    with pytest.raises(InputError, match=r"image 0 is 4x5 pixels but image 1 is 9x3.*--resize"):
        decoded(Image.new("L", (4, 5)), Image.new("L", (9, 3)))


def test_broken_files_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG")
    path = tmp_path / "cat.png"
    path.write_bytes(buffer.getvalue()[:60])

    with pytest.raises(InputError, match=r"cat\.png cannot be decoded as an image .*: replace or remove it"):
        decode_images([path], [str(path)], resize=None, channels=None)
    with pytest.raises(InputError, match="Row 3 cannot be decoded as an image"):
        decode_images([b"not an image"], ["Row 3"], resize=None, channels=None)


def test_missing_images_are_named() -> None:
    with pytest.raises(InputError, match="Row 7 has no image: remove that row"):
        decode_images([None], ["Row 7"], resize=None, channels=None)


def test_no_images_at_all() -> None:
    with pytest.raises(InputError, match="The data set has no images"):
        decode_images([], [], resize=None, channels=None)


def test_pixels_without_a_known_range_are_refused() -> None:
    with pytest.raises(InputError, match="image 0: its pixels are floating-point"):
        decoded(Image.new("F", (2, 2)))


def test_plain_image_has_one_of_two_modes() -> None:
    modes = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "PA"]

    found = {mode: plain_image(Image.new(mode, (2, 2))).mode for mode in modes}

    grey = {"1", "L", "LA", "I;16"}
    assert found == {mode: "L" if mode in grey else "RGB" for mode in modes}


def test_widened_leaves_colour_alone() -> None:
    colour = torch.zeros(2, 3, 4, 4)

    assert widened(colour) is colour
    assert torch.equal(widened(torch.ones(2, 1, 4, 4)), torch.ones(2, 3, 4, 4))


def test_a_size_that_no_memory_holds_is_refused_before_anything_is_resized() -> None:
    images = [np.zeros((4, 4), np.uint8)] * 100_000
    with pytest.raises(InputError, match=r"its size is 65535x65535 pixels, but at most .* pixels are read"):
        decode_images(images, map(str, range(100_000)), resize=65535, channels=None)
    with pytest.raises(InputError, match=r"100,000 images of 8000x8000 pixels take .* GB"):
        decode_images(images, map(str, range(100_000)), resize=8000, channels=None)
