"""A capture that needs no GPU, for tests: it reads and writes fixed tensors as a graph does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, GPU])]


def rerun(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Call the function as a warm-up does, and again at each replay, whose results land in the same tensors."""
    leaves, structure = tree_flatten(run())
    # As in a graph, nothing is computed before the first replay.
    fixed = [torch.full_like(leaf.detach(), -77) for leaf in leaves]

    def replay() -> None:
        for leaf, value in zip(fixed, tree_flatten(run())[0], strict=True):
            leaf.copy_(value.detach())

    return replay, tree_unflatten(fixed, structure)


def refuse(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Fail as a capture does, after calls that may have changed something."""
    run()
    raise RuntimeError("operation not permitted when stream is capturing\nmore")
