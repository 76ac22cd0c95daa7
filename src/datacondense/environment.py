"""What a number depends on beside its settings: versions, device, threads."""

import platform

import torch

from datacondense import __version__
from datacondense.errors import InputError

_STRICT = 2  # of torch's debug modes: what has no deterministic algorithm is an error


def environment(device: torch.device | str) -> dict[str, str | int]:
    """Return what results depend on beside their settings; equal ones give equal bits on one machine.

    Except on a GPU without deterministic algorithms, of which "deterministic" tells; on the CPU it would tell nothing.
    """
    found: dict[str, str | int] = {
        "datacondense": __version__,
        "device": str(device),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if torch.device(device).type == "cuda":
        strict = torch.get_deterministic_debug_mode() == _STRICT
        found["deterministic"] = "yes" if strict else "no, bytes may differ"
    return found


def choose_device(name: str = "auto") -> torch.device:
    """Return a device by its name; "auto" is a CUDA GPU where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # which "meta" has not
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"The device {name!r} cannot be used here: choose --device cpu, or auto.") from error
    return device
