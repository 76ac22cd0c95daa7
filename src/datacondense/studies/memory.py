"""How much memory a cell takes: the peak of its process, or of its GPU, while it computes."""

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak to what is resident now
_KIB, _MIB = 2**10, 2**20


@dataclass(kw_only=True)
class Memory:
    """What a computation took, in MiB; known when it is over.

    Attributes:
        peak: Of the process, program and data set included; on a GPU, of the tensors on it.
        added: What of it was not there before.
    """

    peak: float = 0.0
    added: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Give it as plain JSON values.

        Returns:
            Whole MiB by name.
        """
        return {"peak": round(self.peak), "added": round(self.added)}


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Memory]:
    """Measure the peak memory of what is computed inside.

    On Linux the peak is that of the block alone: what earlier computations freed is given back to the system first.
    Elsewhere it is the highest since the process began, so that only a higher one is seen.

    Args:
        device: Where is computed.

    Yields:
        The measurement, filled in at the end of the block.
    """
    memory = Memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / _MIB
        yield memory
        memory.peak = torch.cuda.max_memory_allocated(device) / _MIB
    else:
        before = _forget_peak()
        yield memory
        memory.peak = _peak()
    memory.added = memory.peak - before


def _forget_peak() -> float:
    """Give unused memory back to the system, begin a new peak where the system allows it, and tell where it begins."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        _RESET.write_text(_RESET_PEAK)
    return _peak()


def _peak() -> float:
    """Read the process's peak in MiB."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return highest / (_MIB if sys.platform == "darwin" else _KIB)
    return next(float(line.split()[1]) / _KIB for line in lines if line.startswith("VmHWM:"))
