"""Peak memory of a task: of its process, or of its tensors on a GPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

_KIB, _MIB = 2**10, 2**20


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, int]]:
    """Measure the peak memory of a block in MiB, and the part that the block added; filled in when it ends.

    On Linux the peak is that of the block alone: memory that earlier computations freed is first returned to the
    system. Elsewhere it is the peak since the process started (0 on Windows, which does not report it this way).
    """
    memory: dict[str, int] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / _MIB
        yield memory
        peak = torch.cuda.max_memory_allocated(device) / _MIB
    else:
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak
        before = process_peak()
        yield memory
        peak = process_peak()
    memory |= {"peak": round(peak), "added": round(peak - before)}


def process_peak() -> float:
    """Return the peak memory of this process in MiB since it started or was reset; 0 where no system tells."""
    with suppress(OSError):
        # Not from getrusage, whose peak a process inherits from the one that started it.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(float(line.split()[1]) / _KIB for line in lines if line.startswith("VmHWM:"))
    try:
        import resource  # noqa: PLC0415 — not on Windows
    except ImportError:
        return 0.0
    highest: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (_MIB if sys.platform == "darwin" else _KIB)
