"""What a caller may have switched in torch, how to compute in spite of it, and how to have the same bytes on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cudnn
from torch.utils import deterministic as _torch_filling

from datacondense.errors import InputError

_FILLING: Any = _torch_filling
_WORKSPACE, _WORKSPACE_SIZE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextmanager
def usual_torch() -> Iterator[None]:
    """Compute with gradients and, where no type is named, in float32, whatever the caller switched before.

    Also a decorator. Callers may be in `torch.no_grad()` or `torch.inference_mode()`, or have another default type.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False):  # which ends torch.no_grad() too
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def deterministic() -> Iterator[None]:
    """Compute the same bytes at every run on a CUDA GPU too, more slowly; on the CPU they are the same anyway.

    Also a decorator. What is done within, in processes of a study too, uses deterministic algorithms only; its records
    say so. Enter it before anything is computed on a GPU. Afterwards everything is switched as before.

    Yields:
        Nothing.

    Raises:
        InputError: What is computed has no deterministic algorithm on a GPU.
    """
    mode = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    before = (cudnn.deterministic, cudnn.benchmark, _FILLING.fill_uninitialized_memory)
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, _WORKSPACE_SIZE)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written, and filling it first takes time.
    cudnn.deterministic, cudnn.benchmark, _FILLING.fill_uninitialized_memory = True, False, False
    try:
        yield
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        name = str(error).split(maxsplit=1)[0]
        raise InputError(
            f"{name} has no deterministic algorithm on a GPU: leave --deterministic out, or compute on the CPU."
        ) from error
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warns)
        cudnn.deterministic, cudnn.benchmark, _FILLING.fill_uninitialized_memory = before
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
