"""What a caller may have switched in torch, and how to compute in spite of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
