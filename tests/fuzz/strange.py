"""What mutations put in the place of what belongs there: values, texts, and changes of bytes and of JSON."""

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

DEEP, DIGITS = "@deep@", "@digits@"  # stand for JSON that Python's own writer refuses

NUMBERS = (
    0, 1, -1, 2, 3, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63),
    10**18, 0.5, -0.0, 1.5, 7.5, 1e-300, 3e38, 1e39, 1e300, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
TEXTS = (
    "", " ", "0", "-1", "1e999", "nan", "inf", "None", "true", "x" * 300, "y" * 100_000, "\0", "a\0b", "\n", "\r\n",
    "\x1b[31mred\x1b[0m", "\x07", "\u202eevil", "\ud800", "日本", "ß̈", "\U0001f600", "{}", "[]", "%s%n", "a=b", "-",
    "--", "evil:net", "evil:", ":net", "evil", "os:system", "../../x", "/etc/passwd", "~", ".", "..", "a/b", "con", "*",
    "convnet-w999999-d1", "convnet-w0-d1", "convnet-w4-d99", "vgg11", "mlp", "MLP", "resnet18-bn", "digits", "dsa",
    "1,2", "dm.iterations=", "dm.iterations=1e99", "9" * 400, "[" * 3000, "é" * 5000, "train", "test", "color_crop",
)  # fmt: skip
FAKES: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, [1, "a"], [0.5] * 3, [0] * 2000,
    DEEP, DIGITS,
)  # fmt: skip
SIZES = (
    *range(-2, 10), 2**7, 2**8, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip


def strange(rng: Random) -> Any:
    """Return a JSON value of any kind."""
    return rng.choice(rng.choice((NUMBERS, TEXTS, FAKES)))


def changed_bytes(rng: Random, data: bytes, others: Sequence[bytes] = (b"",)) -> bytes:
    """Change bytes as transfers, disks and editors do, once or several times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_CHANGES)(rng, data, rng.choice(others))
    return data


def _flip(rng: Random, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _change in range(rng.choice((1, 1, 1, 3, 30)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _behead(rng: Random, data: bytes, _: bytes) -> bytes:
    return data[rng.randrange(min(len(data), 16) + 1) :]


def _zero_tail(rng: Random, data: bytes, _: bytes) -> bytes:
    kept = rng.randrange(len(data) + 1)
    return data[:kept] + bytes(len(data) - kept)


def _block(rng: Random, data: bytes, _: bytes) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 65)
    filler = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return data[:at] + filler[: len(data) - at] + data[at + size :]


def _insert(rng: Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    new = rng.choice((
        b"\0",
        b"\n",
        b" ",
        b"}",
        b"[" * 2000,
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        rng.randbytes(9),
        bytes(5000),
    ))
    return data[:at] + new + data[at:]


def _repeat(rng: Random, data: bytes, _: bytes) -> bytes:
    first, last = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:last] + data[first:last] + data[last:]


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _resize(rng: Random, data: bytes, _: bytes) -> bytes:
    """Replace what may be a size field."""
    form, width = rng.choice((("<H", 2), (">H", 2), ("<I", 4), (">I", 4), ("<Q", 8), (">Q", 8)))
    if len(data) < width:
        return data
    at = rng.randrange(min(len(data), 64) if rng.random() < 0.5 else len(data)) % (len(data) - width + 1)
    size = struct.pack(form, rng.choice(SIZES) % 2 ** (8 * width))
    return data[:at] + size + data[at + width :]


def _digit(rng: Random, data: bytes, _: bytes) -> bytes:
    """Replace a digit of a text by another, or by a number of another kind."""
    places = [place for place, byte in enumerate(data[:4000]) if 48 <= byte <= 57]
    if not places:
        return data
    at = rng.choice(places)
    return (
        data[:at]
        + rng.choice((b"0", b"9", b"-1", b"1e999", b"9" * 30, b"NaN", b'"', b"0.5"))
        + data[at + 1 :]
    )


_Change = Callable[[Random, bytes, bytes], bytes]
_CHANGES: tuple[_Change, ...] = (
    *(_flip, _flip, _cut, _behead, _zero_tail, _block, _insert, _repeat, _splice, _resize, _resize, _digit),
)


def changed_json(rng: Random, value: Any) -> Any:
    """Return a JSON value with something in it replaced, renamed, removed, repeated or moved, once or twice."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        value = _changed(rng, value)
    return value


def _changed(rng: Random, value: Any) -> Any:
    """Go down to some part and change it there."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.12:
        return rng.choice((strange(rng), [value], {"value": value}, str(value)))
    changed: Any = value.copy()
    place: Any = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    what = rng.random()
    if what < 0.7:
        changed[place] = _changed(rng, value[place])
    elif what < 0.8:
        del changed[place]
    elif isinstance(changed, list):
        changed.insert(place, rng.choice((strange(rng), value[place])))
    elif what < 0.9:
        changed[str(rng.choice((*TEXTS, *value)))] = rng.choice((changed.pop(place), strange(rng)))
    else:
        other = rng.choice(list(value))
        changed[place], changed[other] = value[other], value[place]
    return changed


def to_json(value: Any) -> str:
    """Write JSON, also what Python's own writer refuses."""
    text = json.dumps(value)
    digits = "9" * (5000 if len(text) % 2 else 400)  # more than Python reads, or more than a float holds
    return text.replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000).replace(f'"{DIGITS}"', digits)


def deflated_zeros(start: bytes, count: int) -> bytes:
    """Return bytes and so many zeros in a raw stream of zlib, without having them in memory."""
    form = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    first = form.compress(start + bytes(count % len(block))) + form.flush(zlib.Z_FULL_FLUSH)
    first += form.compress(block) + form.flush(zlib.Z_FULL_FLUSH)
    same = form.compress(block) + form.flush(zlib.Z_FULL_FLUSH)
    return first + same * (count // len(block) - 1) + form.flush()
