"""The peak of a block alone, whatever the process took before."""

import sys

import pytest
import torch

from datacondense.tasks.memory import peak_memory

_CPU = torch.device("cpu")
_MIB = 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lets a peak begin anew")
def test_the_peak_is_that_of_the_block() -> None:
    with peak_memory(_CPU) as before:
        torch.ones(200 * _MIB, dtype=torch.uint8).max()
    with peak_memory(_CPU) as small:
        torch.ones(50 * _MIB, dtype=torch.uint8).max()
    assert 195 < before["added"] < 240
    assert 45 < small["added"] < 90
    assert small["peak"] > small["added"]


def test_a_tensor_from_before_is_not_counted() -> None:
    held = torch.ones(100 * _MIB, dtype=torch.uint8)
    with peak_memory(_CPU) as memory:
        held.max()
    assert memory["added"] < 60
    assert memory.keys() == {"peak", "added"}
