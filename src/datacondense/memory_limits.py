"""Limits on memory, checked on what a file says of itself before anything is allocated."""

import os
from contextlib import suppress
from pathlib import Path

from datacondense.errors import InputError

MAX_PIXELS = 2**26  # of one image: 8192x8192
_SHARE = 0.6  # of the memory; what is read is copied at least in part
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def check_image_size(width: int, height: int) -> None:
    """Refuse an image that a small file may hold but that would fill the memory; the message follows its name."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"its size is {width}x{height} pixels, but at most {MAX_PIXELS:,} pixels are read; make it smaller."
        )


def check_memory(size: int, what: str, remedy: str) -> None:
    """Refuse data of `size` bytes that this machine cannot hold with the copies that reading makes."""
    memory = total_memory()
    if memory is not None and size > _SHARE * memory:
        raise InputError(
            f"{what} take {size / 1e9:,.1f} GB, but this machine has {memory / 1e9:,.1f} GB of memory, of which data "
            f"may take {_SHARE:.0%}: {remedy}."
        )


def total_memory() -> int | None:
    """Return the bytes of memory that this process may have; None where the system does not say."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    with suppress(OSError, ValueError):  # ValueError: "max"
        memory = min(memory, int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    return memory
