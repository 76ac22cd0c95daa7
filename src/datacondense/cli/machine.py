"""The options that every subcommand shares: where to compute, and how much to say."""

# ruff: noqa: PLC0415 — torch and what stands on it load when the subcommand runs, so that --help need not wait.

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datacondense.allocator import keep_freed_memory
from datacondense.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where to compute.

    Attributes:
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        threads: Processor threads. Default: torch's choice, the number of cores.
    """

    device: str = "auto"
    threads: int | None = None

    def prepare(self) -> "torch.device":
        """Set threads and memory reuse for the whole process, and choose the device.

        Returns:
            The device.

        Raises:
            InputError: The number of threads is below 1, or there is no such device.
        """
        import torch

        from datacondense.environment import choose_device

        if self.threads is not None:
            if self.threads < 1:
                raise InputError(f"threads is {self.threads}, but must be 1 or more.")
            torch.set_num_threads(self.threads)
        keep_freed_memory()
        return choose_device(self.device)


@dataclass(frozen=True, kw_only=True)
class Output:
    """How much to say.

    Attributes:
        quiet: Say nothing but errors and, with --json, the record.
        json: Print one JSON object with every number instead of sentences.
    """

    quiet: bool = False
    json: bool = False
