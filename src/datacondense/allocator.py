"""Keeping freed memory in the process, where the C library would give it back.

Every layer of a network allocates and frees buffers of many megabytes. glibc returns each to the kernel, which must
then clear its pages again for the next layer, which can take a large share of the time on a processor.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # names of glibc's malloc.h
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make glibc reuse the memory that this process frees, which may raise its peak; return whether it accepted."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, _LARGEST_INT), (_TOP_PAD, 2**26))
    return all(mallopt(name, value) == 1 for name, value in settings)
