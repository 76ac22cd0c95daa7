"""Readers of pictures: folders of them, and tables."""

import io
import json
import os
import struct
import zlib
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from tests.fuzz.oracle import Sandbox
from tests.fuzz.reader import Attempt, Call, Reader
from tests.fuzz.strange import TEXTS, changed_bytes, changed_json, deflated_zeros, strange, to_json


def encoded(mode: str = "L", form: str = "PNG", size: int = 6) -> bytes:
    """Return a picture in a file format."""
    buffer = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(np.arange(size * size, dtype=np.uint16).reshape(size, size) * 1800)
    else:
        image = Image.linear_gradient("L").resize((size, size)).convert(mode)
    image.save(buffer, form)
    return buffer.getvalue()


def huge_png(rng: Random) -> bytes:
    """Return a small file that says that it holds many pixels."""
    width, height = rng.choice((
        (13_000, 13_000),
        (60_000, 60_000),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (20_000, 3_000),
        (0, 0),
    ))
    bits, colour = rng.choice(((16, 0), (8, 2), (16, 6), (1, 0), (8, 3)))
    return png(struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0), zlib.compress(bytes(100_000)))


def png(header: bytes, data: bytes) -> bytes:
    """Return a PNG file."""
    parts = (b"IHDR" + header, b"IDAT" + data, b"IEND")
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


_KINDS = (
    "L PNG,1 PNG,P PNG,LA PNG,RGB PNG,RGBA PNG,I;16 PNG,"
    "L JPEG,RGB JPEG,CMYK JPEG,L TIFF,F TIFF,I TIFF,RGB GIF,RGB BMP,RGB WEBP"
)


def _pictures() -> list[tuple[str, bytes]]:
    """Return one picture of each kind with the suffix of its file."""
    kinds = (kind.split() for kind in _KINDS.split(","))
    return [(form.lower(), encoded(mode, form)) for mode, form in kinds]


def changed_picture(rng: Random, pictures: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return a suffix and a changed picture."""
    suffix, data = rng.choice(pictures)
    if rng.random() < 0.004:
        return "png", huge_png(rng)
    suffix = suffix if rng.random() < 0.9 else rng.choice(("png", "jpg", "heic", "txt", "ppm"))
    return suffix, data if rng.random() < 0.15 else changed_bytes(rng, data, [other for _, other in pictures])


def _huge_pictures(_: Path) -> Attempt:
    """Make the reader of small files with many pixels, all of them there."""
    side = 13_000
    size = side * (1 + 2 * side)  # bytes of rows of 16-bit pixels, each with its filter
    check = struct.pack(">I", (size % 65521) << 16 | 1)  # Adler's, of zeros
    data = b"\x78\xda" + deflated_zeros(b"", size) + check
    picture = png(struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0), data)

    def attempt(rng: Random, __: Sandbox) -> Call:
        for label in ("cat", "dog"):
            Path("images", label).mkdir(parents=True)
            Path("images", label, "0.png").write_bytes(picture)
        return partial(load, "images", rng.choice((DataConfig(), DataConfig(resize=8))))

    return attempt


def _image_folders(_: Path) -> Attempt:
    pictures = _pictures()

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        root = Path("images")
        suffix, data = changed_picture(rng, pictures)
        top = rng.choice((
            "",
            "",
            "",
            "train",
            "Train",
            str(rng.choice(TEXTS))[:60].replace("\0", "").replace("/", ""),
        ))
        for number, label in enumerate(("cat", "dog")):
            folder = root / top.encode("utf-8", "replace").decode() / label
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(pictures[0][1])
            (folder / f"1.{suffix}").write_bytes(data if number else pictures[0][1])
        if rng.random() < 0.02:
            (root / "cat.png").symlink_to(sandbox.root / "private.png")
        config = rng.choice((
            DataConfig(),
            DataConfig(resize=6),
            DataConfig(channels=1),
            DataConfig(channels=3),
        ))
        return partial(load, root, config)

    return attempt


def _changed_table(valid: Any, pictures: list[tuple[str, bytes]], rng: Random, sandbox: Sandbox) -> Any:
    """Change the table: what its metadata says, its types, or one row."""
    import pyarrow as pa  # type: ignore[import-untyped]

    what = rng.random()
    if what < 0.35:
        said = json.loads(valid.schema.metadata[b"huggingface"])
        return valid.replace_schema_metadata({
            "huggingface": to_json(changed_json(rng, said)).encode("utf-8", "replace")
        })
    columns = valid.to_pydict()
    row = rng.randrange(4)
    if what < 0.7:
        outside = (
            sandbox.root / "private.png",
            "private.png",
            sandbox.work / "pipe",
            "/dev/zero",
            "x\0y",
        )
        data = rng.choice((
            None,
            b"",
            changed_picture(rng, pictures)[1],
            changed_picture(rng, pictures)[1],
        ))
        columns["image"][row] = rng.choice((
            None,
            {"bytes": data, "path": rng.choice((None, *map(str, outside)))},
        ))
        return pa.Table.from_pydict(columns, schema=valid.schema)
    kinds = (
        [strange(rng)] * 4,
        [[[0, 9], [255, 1]]] * 4,
        [[1] * 64] * 4,
        ["a", "b"] * 2,
        [b"x"] * 4,
        [0.5, None] * 2,
    )
    columns[rng.choice(("label", "image", "other"))] = list(rng.choice(kinds))
    try:
        return pa.Table.from_pydict(columns)
    except (pa.ArrowException, ValueError, OverflowError, TypeError):
        return pa.Table.from_pydict({"image": [b"x"], "label": [None]})


def _parquet_files(_: Path) -> Attempt:
    import datasets  # type: ignore[import-untyped,unused-ignore]
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    pictures = _pictures()
    image = {"bytes": pictures[0][1], "path": "0.png"}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    valid = pa.Table.from_pydict({"image": [image] * 4, "label": [0, 1, 0, 1]}, schema=features.arrow_schema)

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        path = Path("given.parquet")
        os.mkfifo("pipe")
        buffer = io.BytesIO()
        structured = rng.random() < 0.55
        try:
            pq.write_table(_changed_table(valid, pictures, rng, sandbox) if structured else valid, buffer)
        except pa.ArrowException:
            pq.write_table(valid, buffer)
        path.write_bytes(buffer.getvalue() if structured else changed_bytes(rng, buffer.getvalue()))
        return partial(load, path)

    return attempt


READERS = (
    Reader("image-folder", 40, _image_folders),
    Reader("huge-picture", 0.05, _huge_pictures),
    Reader("parquet", 12, _parquet_files),
)
