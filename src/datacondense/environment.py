"""What a number depends on beside its settings: versions, device, threads."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from datacondense.errors import InputError


def environment(device: torch.device | str) -> dict[str, str | int]:
    """Return what results depend on beside their settings; equal environments give equal bits on one machine.

    Args:
        device: Where the tensors are.

    Returns:
        Device, number of threads and versions, as plain JSON values.
    """
    return {
        "datacondense": package_version(),
        "device": str(device),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def package_version() -> str:
    """Return the version of this library.

    Returns:
        The installed version, or "unknown" when it runs from a folder that was not installed.
    """
    try:
        return version("datacondense")
    except PackageNotFoundError:
        return "unknown"


def choose_device(name: str = "auto") -> torch.device:
    """Return the device by its name.

    Args:
        name: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps", …

    Returns:
        The device.

    Raises:
        InputError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"The device {name!r} cannot be used here: choose --device cpu, or auto.") from error
    return device
