"""Readers of arrays: data sets and features."""

import io
import os
import struct
import zipfile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from datacondense.data.config import DataConfig
from datacondense.data.npz import read_features
from datacondense.data.sources import load
from datacondense.selection.by_features import check_features
from tests.fuzz.oracle import Sandbox
from tests.fuzz.reader import TRAIN, Attempt, Call, Reader
from tests.fuzz.strange import SIZES, TEXTS, changed_bytes, deflated_zeros

UNUSED = 112 << 24  # bytes, more than an input may take
_DESCRIPTIONS = ("(" * 90, "[(" * 40, "None", "1", "[]", "'|O'", "__import__(1)")

DTYPES = (
    "u1", "i8", "<f4", ">f4", "<f8", "f2", "c8", "?", "u8", ">i2", "U3", "S2", "M8[s]", "m8[D]", "V4", "O", "i4,f4",
)  # fmt: skip


def write_npz(path: Path, **arrays: Any) -> Path:
    """Write arrays, and return the path."""
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return path


def write_data(path: Path) -> Path:
    """Write the training images as a data set that has them as test images too, and return the path."""
    images, labels = TRAIN.images.permute(0, 2, 3, 1), TRAIN.labels
    names = np.array(TRAIN.class_names)
    return write_npz(path, x_train=images, y_train=labels, x_test=images, y_test=labels, class_names=names)


def npy(array: Any) -> bytes:
    """Return an array as NumPy saves it, objects too."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


def _strange_array(rng: Random, count: int) -> Any:
    """Return an array of any type, shape and content."""
    axes = rng.choice(("n", "n 1", "n 4 4", "n 4 4 3", "n 3 4 4", "", "0", "0 4 4", "7 4 4"))
    shape = tuple(count if axis == "n" else int(axis) for axis in axes.split())
    if rng.random() < 0.15:
        shape = tuple(rng.randrange(3) for _ in range(rng.randrange(7)))
    values = np.arange(int(np.prod(shape))).reshape(shape) % rng.choice((1, 2, 2, 3, 256))
    if rng.random() < 0.15:
        values = np.full(shape, rng.choice((np.nan, np.inf, -1.0, 1e308, 0.5)))
    try:
        return values.astype(rng.choice(DTYPES))
    except (ValueError, TypeError):
        return values


def changed_npy(rng: Random, data: bytes) -> bytes:
    """Change an `.npy` file: its bytes, or the Python literal in its header."""
    if rng.random() < 0.5:
        return changed_bytes(rng, data)
    end = 10 + int.from_bytes(data[8:10], "little")
    header = data[10:end].decode("latin-1")
    shape = ", ".join(str(rng.choice(SIZES)) for _ in range(rng.randrange(5)))
    new = rng.choice((
        f"{{'descr': '{rng.choice(DTYPES)}', 'fortran_order': False, 'shape': ({shape},), }}",
        f"{{'descr': {rng.choice(_DESCRIPTIONS)}, 'fortran_order': False, 'shape': (1,), }}",
        header.replace("False", rng.choice(("True", "1", "x", "'"))),
        header.replace("shape", rng.choice(("", "descr", "\0", "é"))),
        header.replace("(", "(" * rng.choice((2, 100, 3000))),
        header.replace("'", '"""' if rng.random() < 0.5 else "\\"),
        "\n" + header,
        header.strip() + "#",
    )).encode("utf-8", "replace")
    new = new[:65000] + b" " * (-len(new[:65000]) % 64) + b"\n"
    version = rng.choice((data[6:8], data[6:8], b"\x02\0", b"\x03\0", b"\x09\0"))
    return data[:6] + version + len(new).to_bytes(2, "little") + new + data[end:]


def with_unused(entries: dict[str, bytes], size: int) -> bytes:
    """Return an `.npz` file with an array that nothing uses, small in the file and `size` bytes when it is read."""
    header = npy(np.zeros(0, np.uint8))
    header = header.replace(b"(0,), }" + b" " * (len(str(size)) - 1), f"({size},), }}".encode())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in entries.items():
            file.writestr(f"{name}.npy", data)
        file.writestr("unused.npy", deflated_zeros(header, size))
    written = bytearray(buffer.getvalue())
    # Stored by name; said to be compressed: method and size in the local header, and in the directory at the end.
    local, directory = written.index(b"unused.npy") - 30, written.rindex(b"unused.npy") - 46
    for at, offset in ((local, 8), (directory, 10)):
        struct.pack_into("<H", written, at + offset, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", written, at + offset + 14, len(header) + size)
    return bytes(written)


def _npz_files(_: Path) -> Attempt:
    pixels, labels = np.arange(96, dtype=np.uint8).reshape(6, 4, 4), np.arange(6) % 2
    valid = {
        "x_train": pixels,
        "y_train": labels,
        "x_test": pixels[:2],
        "y_test": labels[:2],
        "class_names": np.array(["a", "b"]),
    }

    entries = {name: npy(array) for name, array in valid.items()}

    def attempt(rng: Random, _: Sandbox) -> Call:
        path = Path("given.npz")
        what = rng.random()
        if what < 0.005:
            os.mkfifo(path)
        elif what < 0.0055:
            path.write_bytes(with_unused(entries, UNUSED))
        else:
            path.write_bytes(_changed_npz(rng, dict(entries)))
        config = rng.choice((
            DataConfig(),
            DataConfig(),
            DataConfig(resize=8),
            DataConfig(channels=3),
            DataConfig(train_split="x"),
        ))
        return partial(load, rng.choice((path, str(path))), config)

    return attempt


def _changed_npz(rng: Random, entries: dict[str, bytes]) -> bytes:
    """Change arrays, names, entries or bytes of an `.npz` file."""
    what = rng.random()
    name = rng.choice(list(entries))
    if what < 0.3:
        entries[name] = npy(_strange_array(rng, 6))
    elif what < 0.6:
        entries[name] = changed_npy(rng, entries[name])
    elif what < 0.65:
        other = rng.choice(TEXTS)[:200].replace("\0", "_").encode("utf-8", "replace").decode()
        entries[other] = entries.pop(name)
    elif what < 0.7:
        entries["class_names"] = npy(
            np.array([str(rng.choice(TEXTS))[:5000] for _ in range(rng.choice((1, 2, 2, 3)))])
        )
    elif what < 0.75:
        del entries[name]
    buffer = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(buffer, "w", kind, compresslevel=1) as file:
        for each, data in entries.items():
            file.writestr(f"{each}.npy", data)
    return changed_bytes(rng, buffer.getvalue()) if what >= 0.75 else buffer.getvalue()


def _features(_: Path) -> Attempt:
    valid = npy(np.ones((8, 3), np.float32))

    def attempt(rng: Random, __: Sandbox) -> Call:
        path = Path("given.npy")
        path.write_bytes(npy(_strange_array(rng, 8)) if rng.random() < 0.3 else changed_npy(rng, valid))
        return lambda: check_features(read_features(path), 8)

    return attempt


READERS = (Reader("npz", 60, _npz_files), Reader("features", 100, _features))
