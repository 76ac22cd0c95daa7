"""Peak memory of a task: of its process, or of its tensors on a GPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak to the current resident size
_KIB, _MIB = 2**10, 2**20


@dataclass(kw_only=True)
class Memory:
    """Memory of a computation in MiB, filled in when it ends.

    Attributes:
        peak: Peak of the process, program and data set included; on a GPU, of its tensors.
        added: The part that the computation added.
    """

    peak: float = 0.0
    added: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain JSON values.

        Returns:
            Rounded MiB by name.
        """
        return {"peak": round(self.peak), "added": round(self.added)}


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Memory]:
    """Measure the peak memory of a block.

    On Linux the peak is that of the block alone: memory that earlier computations freed is first returned to the
    system. Elsewhere it is the peak since the process started (0 on Windows, which does not report it this way).

    Args:
        device: The device that the block computes on.

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
        before = _reset_peak()
        yield memory
        memory.peak = process_peak()
    memory.added = memory.peak - before


def _reset_peak() -> float:
    """Return unused memory to the system, reset the peak if the system allows it, and return the new peak in MiB."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        _RESET.write_text(_RESET_PEAK)
    return process_peak()


def process_peak() -> float:
    """Read the peak memory of this process.

    Returns:
        MiB since the process started or the peak was reset; 0 where the system does not tell.
    """
    with suppress(OSError):
        lines = _STATUS.read_text().splitlines()
        return next(float(line.split()[1]) / _KIB for line in lines if line.startswith("VmHWM:"))
    try:
        import resource  # noqa: PLC0415 — not on Windows
    except ImportError:
        return 0.0
    highest: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (_MIB if sys.platform == "darwin" else _KIB)
