"""The options that every subcommand shares: where to compute, and how much to print."""

import os
from dataclasses import dataclass

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.environment import choose_device
from datacondense.errors import InputError
from datacondense.ranks import current_ranks
from datacondense.settings import check_at_least


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where to compute.

    Attributes:
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps". Of several processes each has a GPU
            of its own.
        threads: Processor threads of each process. Default: the number of cores, divided among --processes.
        deterministic: Compute the same bytes at every run on a GPU too, more slowly.
    """

    device: str = "auto"
    threads: int | None = None
    deterministic: bool = False

    def prepare(self) -> torch.device:
        """Set threads and memory reuse for the whole process, and choose the device."""
        check_at_least(self, 1, "threads")
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        keep_freed_memory()
        device = choose_device(self.device)
        if device.type == "cuda" and current_ranks().size > 1:
            _take_gpu(device)
        # Kernels start on the current GPU, wherever their tensors are.
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        return device


def _take_gpu(device: torch.device) -> None:
    """Make the GPU with this process's number on its machine the current one."""
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if str(device) != "cuda":
        raise InputError(
            f"device is '{device}', but each process takes a GPU of its own: give --device cuda."
        )
    if number >= there:
        raise InputError(
            f"This machine has {there} GPUs, but more processes: start {there} on it, or give --device cpu."
        )
    torch.cuda.set_device(number)


@dataclass(frozen=True, kw_only=True)
class Output:
    """How much to print.

    Attributes:
        quiet: Print nothing but errors and, with --json, the JSON object.
        json: Print one JSON object with every number instead of sentences.
    """

    quiet: bool = False
    json: bool = False
